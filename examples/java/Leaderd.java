import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.URLEncoder;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import java.util.Optional;

/** Asks the daemon over its Unix socket. The JDK's own library only, from Java 16 on. */
public final class Leaderd {
    private static final long PATIENCE_NANOS = Duration.ofSeconds(3).toNanos();
    private static final int MOST_BYTES = 1 << 16;

    private final Path socket;
    private final String election;

    public Leaderd(Path socket, String election) {
        this.socket = socket;
        this.election = election;
    }

    /** The daemon at LEADERD_SOCKET, or where it is by default. */
    public static Leaderd of(String election) {
        String named = System.getenv("LEADERD_SOCKET");
        return new Leaderd(Path.of(named != null ? named : "/run/leaderd/leaderd.sock"), election);
    }

    /**
     * A yes with its fencing token. It is a promise that ends by itself, counted from before the question was sent; look at {@link
     * #valid} before each step. (nanoTime stands still while a machine sleeps: where yours do, let the resource check the token.)
     */
    public record Term(String token, long endNanos) {
        public boolean valid() {
            return endNanos - System.nanoTime() > 0;
        }
    }

    /** A promise that nobody else leads for so long; empty if this instance does not lead, or nobody answers. */
    public Optional<Term> ask(Duration promise) {
        long asked = System.nanoTime();
        String name = URLEncoder.encode(election, StandardCharsets.UTF_8).replace("+", "%20");
        String ms = promise.toMillis() + "ms";
        String path = "/is-leader/" + name + "?promise=" + ms + "&min_valid=" + ms;
        try {
            String[] head = exchange("GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", asked);
            if (!head[0].matches("HTTP/1\\.1 200( .*)?")) {
                return Optional.empty();
            }
            Optional<String> token = header(head, "x-fencing-token");
            Optional<String> left = header(head, "x-leaderd-valid-for-ms");
            if (token.isEmpty() || left.isEmpty()) {
                return Optional.empty();
            }
            long leftNanos = Duration.ofMillis(Long.parseLong(left.get())).toNanos();
            Term term = new Term(token.get(), asked + leftNanos);
            return term.valid() ? Optional.of(term) : Optional.empty();
        } catch (IOException | NumberFormatException error) {
            return Optional.empty(); // whoever cannot ask does not lead
        }
    }

    private static Optional<String> header(String[] head, String name) {
        for (String line : head) {
            int colon = line.indexOf(':');
            if (colon > 0 && line.substring(0, colon).toLowerCase(Locale.ROOT).equals(name)) {
                return Optional.of(line.substring(colon + 1).strip());
            }
        }
        return Optional.empty();
    }

    /** Status line and headers of the answer; given up when the daemon says nothing. */
    private String[] exchange(String request, long asked) throws IOException {
        try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
                Selector selector = Selector.open()) {
            channel.connect(UnixDomainSocketAddress.of(socket));
            ByteBuffer question = ByteBuffer.wrap(request.getBytes(StandardCharsets.US_ASCII));
            while (question.hasRemaining()) {
                channel.write(question);
            }
            channel.configureBlocking(false);
            channel.register(selector, SelectionKey.OP_READ);
            ByteArrayOutputStream answer = new ByteArrayOutputStream();
            ByteBuffer part = ByteBuffer.allocate(4096);
            while (answer.size() < MOST_BYTES) {
                long leftMs = (asked + PATIENCE_NANOS - System.nanoTime()) / 1_000_000;
                if (leftMs <= 0 || selector.select(leftMs) == 0) {
                    throw new IOException("no answer from " + socket);
                }
                selector.selectedKeys().clear();
                part.clear();
                if (channel.read(part) < 0) {
                    break;
                }
                answer.write(part.array(), 0, part.position());
            }
            String text = answer.toString(StandardCharsets.ISO_8859_1);
            int end = text.indexOf("\r\n\r\n");
            if (end < 0) {
                throw new IOException("half an answer from " + socket);
            }
            return text.substring(0, end).split("\r\n");
        }
    }
}
