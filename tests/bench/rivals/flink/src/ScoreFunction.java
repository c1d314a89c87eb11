import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/**
 * Adds usage events to their account's panes and publishes each change of a score by at least a point.
 *
 * <p>Every account has an event-time timer at the next day's boundary, so that a silent account's score falls when it
 * should.
 */
public final class ScoreFunction extends KeyedProcessFunction<String, Usage, Change> {
  private static final long serialVersionUID = 1L;
  private static final double MIN_CHANGE = 1.0;

  private transient ValueState<Panes> panes;

  @Override
  public void open(OpenContext context) {
    panes = getRuntimeContext().getState(new ValueStateDescriptor<>("panes", Panes.class));
  }

  @Override
  public void processElement(Usage event, Context context, Collector<Change> out) throws Exception {
    int day = (int) Math.floorDiv(event.time, Panes.DAY_MS);
    Panes account = panes.value();
    if (account == null) {
      account = new Panes();
    }
    if (day > account.day) {
      account.advanceTo(day);
      context.timerService().registerEventTimeTimer((day + 1) * Panes.DAY_MS);
    }
    account.add(day, event.count);
    publishIfMoved(account, event.account, event.time, out);
    panes.update(account);
  }

  @Override
  public void onTimer(long time, OnTimerContext context, Collector<Change> out) throws Exception {
    int day = (int) Math.floorDiv(time, Panes.DAY_MS);
    Panes account = panes.value();
    if (day <= account.day) {
      return; // an event of this day came before the watermark did, and set the next timer
    }
    account.advanceTo(day);
    publishIfMoved(account, context.getCurrentKey(), time, out);
    panes.update(account);
    if (!account.isEmpty()) {
      context.timerService().registerEventTimeTimer((day + 1) * Panes.DAY_MS);
    }
  }

  private static void publishIfMoved(Panes account, String id, long time, Collector<Change> out) {
    double score = account.score();
    if (Math.abs(score - account.published) < MIN_CHANGE) {
      return;
    }
    out.collect(new Change(id, time, account.published, score));
    account.published = score;
  }
}
