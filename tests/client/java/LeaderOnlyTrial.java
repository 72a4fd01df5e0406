import org.springframework.aop.aspectj.annotation.AspectJProxyFactory;

/** The aspect of the examples around a bean, through Spring's own proxy. */
public final class LeaderOnlyTrial {
    public interface Job {
        String run();
    }

    public static final class Report implements Job {
        @Override
        @LeaderOnly("daily-report")
        public String run() {
            return LeaderOnlyAspect.token() + (LeaderOnlyAspect.term().valid() ? "" : " is over");
        }
    }

    private LeaderOnlyTrial() {}

    public static void main(String[] args) {
        AspectJProxyFactory factory = new AspectJProxyFactory(new Report());
        factory.addAspect(new LeaderOnlyAspect());
        Job job = factory.getProxy();
        String token = job.run();
        System.out.println(token == null ? "skipped" : "working, X-Fencing-Token: " + token);
        try {
            LeaderOnlyAspect.token();
            System.exit(1);
        } catch (IllegalStateException expected) {
            System.out.println("no token outside");
        }
    }
}
