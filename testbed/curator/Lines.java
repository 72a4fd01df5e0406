import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/**
 * What a peer tells: each event one line of JSON on stdout.
 *
 * <p>Its "ns" is System.nanoTime(), which on Linux is CLOCK_MONOTONIC, so it can be compared with time.monotonic_ns() of a
 * Python process on the same machine (and differs from CLOCK_BOOTTIME by the time the machine has been suspended).
 */
final class Lines {
    private final PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);

    synchronized void say(String event, String more) {
        long now = System.nanoTime();
        out.println("{\"ns\":" + now + ",\"event\":" + quote(event) + (more == null ? "" : "," + more) + "}");
        out.flush();
    }

    static String quote(String text) {
        StringBuilder quoted = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                quoted.append('\\').append(c);
            } else if (c < ' ') {
                quoted.append(String.format("\\u%04x", (int) c));
            } else {
                quoted.append(c);
            }
        }
        return quoted.append('"').toString();
    }
}
