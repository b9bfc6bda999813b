// Orders over REST or gRPC in Go, observed as the service from the template is.
//
// Usage: bench rest|grpc PORT RATIO
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	pb "bench/orders"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type order struct {
	ID       string `json:"id"`
	SKU      string `json:"sku"`
	Quantity int32  `json:"quantity"`
}

type orders struct {
	pb.UnimplementedOrderServiceServer
	lock  sync.RWMutex
	known map[string]order
}

func (o *orders) create(sku string, quantity int32) order {
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	made := order{hex.EncodeToString(id), sku, quantity}
	o.lock.Lock()
	defer o.lock.Unlock()
	o.known[made.ID] = made
	return made
}

func (o *orders) find(id string) (order, bool) {
	o.lock.RLock()
	defer o.lock.RUnlock()
	found, ok := o.known[id]
	return found, ok
}

func (o *orders) CreateOrder(_ context.Context, request *pb.CreateOrderRequest) (*pb.CreateOrderResponse, error) {
	return &pb.CreateOrderResponse{Order: message(o.create(request.Sku, request.Quantity))}, nil
}

func (o *orders) GetOrder(_ context.Context, request *pb.GetOrderRequest) (*pb.GetOrderResponse, error) {
	found, ok := o.find(request.Id)
	if !ok {
		return nil, status.Error(codes.NotFound, "no such order")
	}
	return &pb.GetOrderResponse{Order: message(found)}, nil
}

func message(o order) *pb.Order {
	return &pb.Order{Id: o.ID, Sku: o.SKU, Quantity: o.Quantity}
}

func (o *orders) postOrder(answer http.ResponseWriter, request *http.Request) {
	var asked order
	if err := json.NewDecoder(request.Body).Decode(&asked); err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	write(answer, http.StatusCreated, o.create(asked.SKU, asked.Quantity))
}

func (o *orders) getOrder(answer http.ResponseWriter, request *http.Request) {
	found, ok := o.find(request.PathValue("id"))
	if !ok {
		http.NotFound(answer, request)
		return
	}
	write(answer, http.StatusOK, found)
}

func write(answer http.ResponseWriter, code int, body order) {
	answer.Header().Set("content-type", "application/json")
	answer.WriteHeader(code)
	_ = json.NewEncoder(answer).Encode(body)
}

// telemetry is what both transports are observed with: a line and a metric for each call.
type telemetry struct {
	line *zap.Logger
	took *prometheus.HistogramVec
}

func (t telemetry) ended(ctx context.Context, name, code string, began time.Time) {
	took := time.Since(began)
	t.took.WithLabelValues(name, code).Observe(took.Seconds())
	span := trace.SpanContextFromContext(ctx)
	t.line.Info("call", zap.String("name", name), zap.String("code", code), zap.Duration("duration", took),
		zap.Stringer("trace.id", span.TraceID()), zap.Stringer("span.id", span.SpanID()))
}

// remembered keeps the status that a handler writes.
type remembered struct {
	http.ResponseWriter
	code int
}

func (r *remembered) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

func (t telemetry) rest(next http.Handler) http.Handler {
	return http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		began, seen := time.Now(), &remembered{answer, http.StatusOK}
		next.ServeHTTP(seen, request)
		t.ended(request.Context(), request.Pattern, strconv.Itoa(seen.code), began)
	})
}

func (t telemetry) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	began := time.Now()
	answer, err := next(ctx, request)
	t.ended(ctx, info.FullMethod, status.Code(err).String(), began)
	return answer, err
}

// nowhere forgets all spans.
type nowhere struct{}

func (nowhere) ExportSpans(context.Context, []sdk.ReadOnlySpan) error { return nil }
func (nowhere) Shutdown(context.Context) error                        { return nil }

func observed(ratio float64) telemetry {
	sampler := sdk.ParentBased(sdk.TraceIDRatioBased(ratio))
	otel.SetTracerProvider(sdk.NewTracerProvider(sdk.WithSampler(sampler), sdk.WithBatcher(nowhere{})))
	otel.SetTextMapPropagator(propagation.TraceContext{})
	options := prometheus.HistogramOpts{Name: "call_duration_seconds", Help: "How long calls took."}
	config := zap.NewProductionConfig()
	config.Sampling = nil // a line for each call
	config.OutputPaths = []string{"stdout"}
	return telemetry{zap.Must(config.Build()), promauto.NewHistogramVec(options, []string{"name", "code"})}
}

func serveREST(listener net.Listener, known *orders, seen telemetry) error {
	routes := http.NewServeMux()
	routes.HandleFunc("POST /v1/orders", known.postOrder)
	routes.HandleFunc("GET /v1/orders/{id}", known.getOrder)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: otelhttp.NewHandler(seen.rest(routes), "rest"), Protocols: protocols}
	return server.Serve(listener)
}

func serveRPC(listener net.Listener, known *orders, seen telemetry) error {
	server := grpc.NewServer(grpc.StatsHandler(otelgrpc.NewServerHandler()), grpc.UnaryInterceptor(seen.unary))
	pb.RegisterOrderServiceServer(server, known)
	return server.Serve(listener)
}

func main() {
	transport, port := os.Args[1], os.Args[2]
	ratio, err := strconv.ParseFloat(os.Args[3], 64)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	serve := map[string]func(net.Listener, *orders, telemetry) error{"rest": serveREST, "grpc": serveRPC}[transport]
	log.Fatal(serve(listener, &orders{known: map[string]order{}}, observed(ratio)))
}
