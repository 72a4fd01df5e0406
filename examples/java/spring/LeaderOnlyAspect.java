import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.aspectj.lang.ProceedingJoinPoint;
import org.aspectj.lang.annotation.Around;
import org.aspectj.lang.annotation.Aspect;
import org.springframework.core.Ordered;
import org.springframework.stereotype.Component;

/**
 * What {@link LeaderOnly} does. Needs spring-aop and aspectjweaver, and {@code @EnableAspectJAutoProxy} where Spring Boot does not
 * see to it. As with all of Spring's proxies, a bean that calls its own method passes it by.
 */
@Aspect
@Component
public class LeaderOnlyAspect implements Ordered {
    private static final ThreadLocal<Leaderd.Term> TERM = new ThreadLocal<>();
    private final Map<String, Leaderd> elections = new ConcurrentHashMap<>();

    /** The fencing token of the term in which the method runs: send it along with everything it changes. */
    public static String token() {
        return term().token();
    }

    /** The term in which the method runs; look whether it is still valid before each step. */
    public static Leaderd.Term term() {
        Leaderd.Term term = TERM.get();
        if (term == null) {
            throw new IllegalStateException("not inside a method marked @LeaderOnly");
        }
        return term;
    }

    /** Before transactions and retries: who does not lead does not even open one. Not the very first: that is Spring's own. */
    @Override
    public int getOrder() {
        return Ordered.HIGHEST_PRECEDENCE + 100;
    }

    @Around("@annotation(only)")
    public Object onlyWhileLeading(ProceedingJoinPoint call, LeaderOnly only) throws Throwable {
        Leaderd leaderd = elections.computeIfAbsent(only.value(), Leaderd::of);
        Optional<Leaderd.Term> term = leaderd.ask(Duration.ofMillis(only.promiseMs()));
        if (term.isEmpty()) {
            return null;
        }
        Leaderd.Term outer = TERM.get();
        TERM.set(term.get());
        try {
            return call.proceed();
        } finally {
            if (outer == null) {
                TERM.remove();
            } else {
                TERM.set(outer);
            }
        }
    }
}
