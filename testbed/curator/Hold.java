import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/** How long a peer keeps what it was given: for so many milliseconds, with 0 for ever, or until it is told to let go. */
final class Hold {
    private final Semaphore releases = new Semaphore(0);
    private final long holdMs;

    Hold(long holdMs) {
        this.holdMs = holdMs;
    }

    /** Let go now. */
    void release() {
        releases.release();
    }

    /** It is held from now on: what was said before concerns nobody. */
    void begin() {
        releases.drainPermits();
    }

    /** Waits, and tells why it is over: held or released. */
    String end() throws InterruptedException {
        if (holdMs > 0) {
            return releases.tryAcquire(holdMs, TimeUnit.MILLISECONDS) ? "released" : "held";
        }
        releases.acquire();
        return "released";
    }
}
