import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;

/** Reads the fields that the work needs; the others are skipped. */
public final class UsageReader extends AbstractDeserializationSchema<Usage> {
  private static final long serialVersionUID = 1L;
  private static final JsonFactory JSON = new JsonFactory();

  @Override
  public Usage deserialize(byte[] json) throws IOException {
    Usage usage = new Usage(null, 0, 1);
    try (JsonParser parser = JSON.createParser(json)) {
      parser.nextToken();
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String field = parser.currentName();
        parser.nextToken();
        switch (field) {
          case "account_id" -> usage.account = parser.getText();
          case "time" -> usage.time = parser.getLongValue();
          case "count" -> usage.count = parser.getIntValue();
          default -> parser.skipChildren();
        }
      }
    }
    return usage;
  }
}
