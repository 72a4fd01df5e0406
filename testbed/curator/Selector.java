import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.StringJoiner;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.leader.Participant;
import org.apache.curator.retry.RetryForever;

/**
 * A candidate that is nothing but Apache Curator: LeaderSelector with automatic requeue and the recommended listener.
 *
 * <p>Arguments: CONNECT PATH ID HOLD_MS SESSION_MS. A hold of 0 lasts until `release` or until Curator interrupts it.
 *
 * <p>Events, as {@link Lines} tells them: started, state, acquired, lost, participants, error. "acquired" is stamped when
 * leadership has been given to us, "lost" before it is given back, so the two enclose only time in which this candidate
 * believed that it led.
 *
 * <p>Commands on stdin, one per line: `list`, `release`, `quit`. The end of stdin means `quit`.
 */
public final class Selector extends LeaderSelectorListenerAdapter {
    private final Lines lines = new Lines();
    private final Hold hold;

    private Selector(Hold hold) {
        this.hold = hold;
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 5) {
            System.err.println("usage: Selector CONNECT PATH ID HOLD_MS SESSION_MS");
            System.exit(2);
        }
        int sessionMs = Integer.parseInt(arguments[4]);
        CuratorFramework client =
                CuratorFrameworkFactory.newClient(arguments[0], sessionMs, sessionMs, new RetryForever(100));
        Selector candidate = new Selector(new Hold(Long.parseLong(arguments[3])));
        client.getConnectionStateListenable()
                .addListener((ignored, state) -> candidate.lines.say("state", "\"state\":" + Lines.quote(state.name())));
        client.start();
        LeaderSelector selector = new LeaderSelector(client, arguments[1], candidate);
        selector.setId(arguments[2]);
        selector.autoRequeue();
        selector.start();
        candidate.lines.say("started", "\"id\":" + Lines.quote(arguments[2]));
        candidate.obey(selector);
        selector.close();
        client.close();
    }

    /** Lead for the hold, until a release, or until Curator interrupts us because the connection is in doubt. */
    @Override
    public void takeLeadership(CuratorFramework client) {
        hold.begin();
        lines.say("acquired", null);
        String reason;
        try {
            reason = hold.end();
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
            reason = "interrupted";
        }
        lines.say("lost", "\"reason\":" + Lines.quote(reason));
    }

    private void obey(LeaderSelector selector) throws Exception {
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            switch (line.trim()) {
                case "list":
                    list(selector);
                    break;
                case "release":
                    hold.release();
                    break;
                case "quit":
                    return;
                default:
                    lines.say("error", "\"message\":" + Lines.quote("unknown command " + line));
            }
        }
    }

    private void list(LeaderSelector selector) {
        StringJoiner ids = new StringJoiner(",", "\"participants\":[", "]");
        try {
            for (Participant one : selector.getParticipants()) {
                ids.add("{\"id\":" + Lines.quote(one.getId()) + ",\"leader\":" + one.isLeader() + "}");
            }
        } catch (Exception error) {
            lines.say("error", "\"message\":" + Lines.quote(String.valueOf(error)));
            return;
        }
        lines.say("participants", ids.toString());
    }
}
