import java.net.URI;
import java.time.Instant;
import java.time.ZoneId;
import javax.net.ssl.HttpsURLConnection;

// Connects to a server whose certificate only the image's trust store knows.
public class Probe {
    public static void main(String[] args) throws Exception {
        var connection = (HttpsURLConnection) URI.create(args[0]).toURL().openConnection();
        System.out.println(connection.getResponseCode() + " "
            + ZoneId.of("Europe/Zurich").getRules().getOffset(Instant.parse("2024-07-01T00:00:00Z"))
            + " " + System.getProperty("java.specification.version"));
    }
}
