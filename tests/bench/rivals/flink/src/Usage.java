/** One usage event; a class with public fields and an empty constructor, which Flink serialises without Kryo. */
public final class Usage {
  public String account;
  public long time;
  public int count;

  public Usage() {}

  Usage(String account, long time, int count) {
    this.account = account;
    this.time = time;
    this.count = count;
  }
}
