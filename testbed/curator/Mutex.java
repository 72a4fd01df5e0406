import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.retry.RetryForever;

/**
 * A process that takes Apache Curator's InterProcessMutex again and again: what is not an election, but excludes like one.
 *
 * <p>Arguments: CONNECT PATH ID HOLD_MS SESSION_MS. A hold of 0 lasts until `release`. ID is what its nodes hold, as
 * Curator's default data. Events, as {@link Lines} tells them: started, state, acquired, lost. "acquired" is stamped when the
 * lock has been given to us, "lost" before it is given back.
 *
 * <p>Commands on stdin, one per line: `release`, `quit`. The end of stdin means `quit`.
 */
public final class Mutex {
    private static final Lines LINES = new Lines();

    private Mutex() {}

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 5) {
            System.err.println("usage: Mutex CONNECT PATH ID HOLD_MS SESSION_MS");
            System.exit(2);
        }
        int sessionMs = Integer.parseInt(arguments[4]);
        CuratorFramework client = CuratorFrameworkFactory.builder()
                .connectString(arguments[0])
                .sessionTimeoutMs(sessionMs)
                .connectionTimeoutMs(sessionMs)
                .retryPolicy(new RetryForever(100))
                .defaultData(arguments[2].getBytes(StandardCharsets.UTF_8))
                .build();
        client.getConnectionStateListenable()
                .addListener((ignored, state) -> LINES.say("state", "\"state\":" + Lines.quote(state.name())));
        client.start();
        InterProcessMutex mutex = new InterProcessMutex(client, arguments[1]);
        Hold hold = new Hold(Long.parseLong(arguments[3]));
        Thread taker = new Thread(() -> take(mutex, hold), "taker");
        LINES.say("started", "\"id\":" + Lines.quote(arguments[2]));
        taker.start();
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null && !line.trim().equals("quit"); line = commands.readLine()) {
            if (line.trim().equals("release")) {
                hold.release();
            } else {
                LINES.say("error", "\"message\":" + Lines.quote("unknown command " + line));
            }
        }
        taker.interrupt();
        taker.join();
        client.close();
    }

    /** Take it, hold it, give it back, until we are interrupted. */
    private static void take(InterProcessMutex mutex, Hold hold) {
        try {
            while (true) {
                mutex.acquire();
                hold.begin();
                LINES.say("acquired", null);
                String reason = "interrupted";
                try {
                    reason = hold.end();
                } finally {
                    LINES.say("lost", "\"reason\":" + Lines.quote(reason));
                    mutex.release();
                }
            }
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        } catch (Exception error) {
            LINES.say("error", "\"message\":" + Lines.quote(String.valueOf(error)));
        }
    }
}
