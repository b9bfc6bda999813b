import org.antlr.v4.runtime.*;
import org.elasticsearch.xpack.esql.parser.*;

/** Parses each argument by Elasticsearch's own grammar of ES|QL, and prints what is wrong with it, or "ok". */
public class EsqlCheck {
    public static void main(String[] queries) {
        for (String query : queries) {
            System.out.println(new EsqlCheck().verdict(query).replace('\n', ' '));
        }
    }

    private String first;

    private final BaseErrorListener listener = new BaseErrorListener() {
        public void syntaxError(Recognizer<?, ?> recognizer, Object symbol, int line, int column, String message, RecognitionException error) {
            if (first == null) first = line + ":" + column + ": " + message;
        }
    };

    private String verdict(String query) {
        EsqlBaseLexer lexer = new EsqlBaseLexer(CharStreams.fromString(query));
        lexer.removeErrorListeners();
        lexer.addErrorListener(listener);
        EsqlBaseParser parser = new EsqlBaseParser(new CommonTokenStream(lexer));
        parser.removeErrorListeners();
        parser.addErrorListener(listener);
        try {
            parser.singleStatement();
        } catch (Throwable error) {
            if (first == null) first = error.toString();
        }
        return first == null ? "ok" : first;
    }
}
