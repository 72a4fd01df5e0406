import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * Runs a method only where this instance leads, and skips it quietly elsewhere:
 *
 * <pre>
 * &#64;Scheduled(cron = "0 0 7 * * *")
 * &#64;LeaderOnly("daily-report")
 * public void report() { ... LeaderOnlyAspect.token() ... }
 * </pre>
 */
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.METHOD)
public @interface LeaderOnly {
    /** The election. */
    String value();

    /** How long nobody else shall lead, from when the method begins: longer than it takes, shorter than the lease. */
    long promiseMs() default 1000;
}
