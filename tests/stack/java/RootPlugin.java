package twinport;

import java.util.*;
import java.util.function.*;
import java.util.regex.Pattern;
import org.apache.lucene.analysis.TokenStream;
import org.apache.lucene.analysis.Tokenizer;
import org.apache.lucene.analysis.email.UAX29URLEmailTokenizer;
import org.apache.lucene.analysis.miscellaneous.RemoveDuplicatesTokenFilter;
import org.apache.lucene.analysis.pattern.PatternCaptureGroupTokenFilter;
import org.elasticsearch.Build;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.cluster.node.DiscoveryNodes;
import org.elasticsearch.features.NodeFeature;
import org.elasticsearch.index.analysis.*;
import org.elasticsearch.indices.analysis.AnalysisModule.AnalysisProvider;
import org.elasticsearch.plugins.*;
import org.elasticsearch.rest.*;

/** What the distribution of Maven Central lacks: GET /, which clients ask first, and the analysis of the index of users. */
public class RootPlugin extends Plugin implements ActionPlugin, AnalysisPlugin {
    @Override
    public Collection<RestHandler> getRestHandlers(
            RestHandlersServices services, Supplier<DiscoveryNodes> nodes, Predicate<NodeFeature> features) {
        return List.of(new Root());
    }

    static class Root extends BaseRestHandler {
        static final String ANSWER = "{\"name\":\"test\",\"cluster_name\":\"test\",\"version\":{\"number\":\"%s\",\"build_flavor\":\"default\","
            + "\"lucene_version\":\"10\",\"minimum_wire_compatibility_version\":\"8.19.0\",\"minimum_index_compatibility_version\":\"8.0.0\"},"
            + "\"tagline\":\"You Know, for Search\"}";

        public String getName() { return "root"; }

        public List<Route> routes() {
            return List.of(new Route(RestRequest.Method.GET, "/"), new Route(RestRequest.Method.HEAD, "/"));
        }

        protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) {
            String answer = ANSWER.formatted(Build.current().version());
            return channel -> channel.sendResponse(new RestResponse(RestStatus.OK, "application/json", answer));
        }
    }

    @Override
    public Map<String, AnalysisProvider<TokenFilterFactory>> getTokenFilters() {
        return Map.of("pattern_capture", (index, environment, name, settings) -> new AbstractTokenFilterFactory(name) {
            public TokenStream create(TokenStream tokens) {
                Pattern[] patterns = settings.getAsList("patterns").stream().map(Pattern::compile).toArray(Pattern[]::new);
                return new PatternCaptureGroupTokenFilter(tokens, settings.getAsBoolean("preserve_original", true), patterns);
            }
        });
    }

    @Override
    public Map<String, AnalysisProvider<TokenizerFactory>> getTokenizers() {
        return Map.of("uax_url_email", (index, environment, name, settings) -> new AbstractTokenizerFactory(name) {
            public Tokenizer create() { return new UAX29URLEmailTokenizer(); }
        });
    }

    @Override
    public List<PreConfiguredTokenFilter> getPreConfiguredTokenFilters() {
        return List.of(PreConfiguredTokenFilter.singleton("unique", false, RemoveDuplicatesTokenFilter::new));
    }

    @Override
    public List<PreConfiguredTokenizer> getPreConfiguredTokenizers() {
        return List.of(PreConfiguredTokenizer.singleton("uax_url_email", UAX29URLEmailTokenizer::new));
    }
}
