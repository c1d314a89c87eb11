/** One published change of a score. */
public final class Change {
  public String account;
  public long time;
  public double from;
  public double to;

  public Change() {}

  Change(String account, long time, double from, double to) {
    this.account = account;
    this.time = time;
    this.from = from;
    this.to = to;
  }

  String toJson() {
    String before = Double.isNaN(from) ? "null" : Double.toString(from);
    return "{\"account_id\":\"" + account + "\",\"time\":" + time + ",\"score\":\"health\",\"from\":" + before
        + ",\"to\":" + to + "}";
  }
}
