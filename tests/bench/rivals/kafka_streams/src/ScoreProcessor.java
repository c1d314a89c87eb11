import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * Adds usage events to their account's row and forwards the changes of scores by at least a point.
 *
 * <p>Two ways to publish. EACH: after every event, and all rows are looked at whenever the day changes, so that a silent
 * account's score falls when it should. CONFLATED: with every commit, at most one change an account; days that passed in
 * between are looked at once. Both end with the same scores.
 *
 * <p>Commits are asked for here, so that offsets never say more than was published: at once when no event has come for
 * a tenth of a second, else every five seconds; account-vitals does the same. The first one comes after two seconds,
 * because the benchmark's clock starts with it and the JVM should have compiled its code by then.
 */
final class ScoreProcessor implements Processor<Bytes, byte[], Bytes, byte[]> {
  enum Publishing { EACH, CONFLATED }

  static final String STORE = "accounts";
  private static final double MIN_CHANGE = 1.0;
  private static final Duration TICK = Duration.ofMillis(200);
  private static final long IDLE_MS = 100;
  private static final long FIRST_COMMIT_MS = 2_000;
  private static final long COMMIT_MS = 5_000;
  private static final JsonFactory JSON = new JsonFactory();

  private final Publishing publishing;
  private final RestoreReport restoreReport;
  private final Set<Bytes> dirty = new HashSet<>();
  private ProcessorContext<Bytes, byte[]> context;
  private KeyValueStore<Bytes, byte[]> store;
  private int day;
  private int sweptDay;
  private long time;
  private long lastEventAt;
  private long commitAt;
  private long eventTime;
  private int eventCount;

  ScoreProcessor(Publishing publishing, RestoreReport restoreReport) {
    this.publishing = publishing;
    this.restoreReport = restoreReport;
  }

  @Override
  public void init(ProcessorContext<Bytes, byte[]> context) {
    this.context = context;
    store = context.getStateStore(STORE);
    // What was not yet published before a crash is found here, because a row knows what was.
    int accounts = 0;
    try (KeyValueIterator<Bytes, byte[]> rows = store.all()) {
      while (rows.hasNext()) {
        KeyValue<Bytes, byte[]> row = rows.next();
        day = Math.max(day, Row.copyOf(row.value).newestDay());
        dirty.add(row.key);
        accounts++;
      }
    }
    time = day * Row.DAY_MS;
    restoreReport.restored(accounts);
    context.schedule(TICK, PunctuationType.WALL_CLOCK_TIME, this::tick);
  }

  @Override
  public void process(Record<Bytes, byte[]> record) {
    lastEventAt = context.currentSystemTimeMs();
    if (commitAt == 0) {
      commitAt = lastEventAt + FIRST_COMMIT_MS;
    }
    parse(record.value());
    int eventDay = (int) Math.floorDiv(eventTime, Row.DAY_MS);
    time = Math.max(time, eventTime);
    if (eventDay > day) {
      day = eventDay;
      if (publishing == Publishing.EACH) {
        sweep();
      }
    }
    byte[] stored = store.get(record.key());
    Row row = stored == null ? Row.fresh(day) : Row.copyOf(stored);
    row.advanceTo(day);
    if (!row.add(eventDay, eventCount)) {
      return;
    }
    if (publishing == Publishing.EACH) {
      publishIfMoved(record.key(), row);
    } else {
      dirty.add(record.key());
    }
    store.put(record.key(), row.toBytes());
  }

  private void parse(byte[] json) {
    eventCount = 1;
    try (JsonParser parser = JSON.createParser(json)) {
      parser.nextToken();
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String field = parser.currentName();
        parser.nextToken();
        if ("time".equals(field)) {
          eventTime = parser.getLongValue();
        } else if ("count".equals(field)) {
          eventCount = parser.getIntValue();
        } else {
          parser.skipChildren();
        }
      }
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private void tick(long now) {
    boolean idle = now - lastEventAt >= IDLE_MS;
    if (commitAt == 0 || now < commitAt && !idle) {
      return;
    }
    commitAt = now + COMMIT_MS;
    if (publishing == Publishing.CONFLATED) {
      publishDirty();
    }
    context.commit();
  }

  private void publishDirty() {
    if (day > sweptDay) {
      sweep();
    } else {
      for (Bytes account : dirty) {
        look(account, store.get(account));
      }
    }
    dirty.clear();
  }

  private void sweep() {
    sweptDay = day;
    List<KeyValue<Bytes, byte[]>> rows = new ArrayList<>();
    try (KeyValueIterator<Bytes, byte[]> all = store.all()) {
      all.forEachRemaining(rows::add);
    }
    for (KeyValue<Bytes, byte[]> row : rows) {
      look(row.key, row.value);
    }
  }

  private void look(Bytes account, byte[] stored) {
    Row row = Row.copyOf(stored);
    row.advanceTo(day);
    if (publishIfMoved(account, row)) {
      store.put(account, row.toBytes());
    }
  }

  private boolean publishIfMoved(Bytes account, Row row) {
    double score = row.score();
    double published = row.published();
    if (Math.abs(score - published) < MIN_CHANGE) {
      return false;
    }
    String from = Double.isNaN(published) ? "null" : Double.toString(published);
    String id = new String(account.get(), StandardCharsets.UTF_8);
    String change = "{\"account_id\":\"" + id + "\",\"time\":" + time + ",\"score\":\"health\",\"from\":" + from
        + ",\"to\":" + score + "}";
    context.forward(new Record<>(account, change.getBytes(StandardCharsets.UTF_8), time));
    row.setPublished(score);
    return true;
  }
}
