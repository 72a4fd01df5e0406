import java.time.Duration;

/** Works only while this instance leads: javac -d out *.java && java -cp out Worker [ELECTION] */
public final class Worker {
    private Worker() {}

    public static void main(String[] args) {
        Leaderd leaderd = Leaderd.of(args.length > 0 ? args[0] : "daily-report");
        leaderd.ask(Duration.ofSeconds(1))
                .filter(Leaderd.Term::valid)
                .ifPresentOrElse(
                        term -> System.out.println("working, X-Fencing-Token: " + term.token()),
                        () -> System.out.println("skipped: not the leader"));
    }
}
