// Package peers calls a running order book as a service written in Go does.
package peers

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "peers/orders"
)

// client is connected until the test ends, which is soon.
func client(t *testing.T) (context.Context, pb.OrderServiceClient) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	address := os.Getenv("ORDERS_ADDRESS")
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	return ctx, pb.NewOrderServiceClient(connection)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustBe(t *testing.T, code codes.Code, err error) {
	t.Helper()
	if status.Code(err) != code {
		t.Fatalf("%v, not %v", err, code)
	}
}

func TestAnOrderIsAcceptedHandedOutListedAndForgotten(t *testing.T) {
	ctx, orders := client(t)
	created, err := orders.CreateOrder(ctx, &pb.CreateOrderRequest{Sku: "green-tea", Quantity: 2})
	must(t, err)
	id := created.Order.Id
	got, err := orders.GetOrder(ctx, &pb.GetOrderRequest{Id: id})
	must(t, err)
	if got.Order.Sku != "green-tea" || got.Order.Quantity != 2 {
		t.Fatalf("another order: %v", got.Order)
	}
	page, err := orders.ListOrders(ctx, &pb.ListOrdersRequest{PageSize: 1})
	must(t, err)
	if len(page.Orders) != 1 {
		t.Fatalf("%d orders in a page of 1", len(page.Orders))
	}
	_, err = orders.DeleteOrder(ctx, &pb.DeleteOrderRequest{Id: id})
	must(t, err)
	_, err = orders.GetOrder(ctx, &pb.GetOrderRequest{Id: id})
	mustBe(t, codes.NotFound, err)
}

func TestTheWrongFieldsAreNamedInTheDetailsOfTheError(t *testing.T) {
	ctx, orders := client(t)
	_, err := orders.CreateOrder(ctx, &pb.CreateOrderRequest{Sku: "Tea!"})
	mustBe(t, codes.InvalidArgument, err)
	wrong := map[string]bool{}
	reason := ""
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				wrong[violation.Field] = true
			}
		case *errdetails.ErrorInfo:
			reason = detail.Reason
		}
	}
	if len(wrong) != 2 || !wrong["sku"] || !wrong["quantity"] || reason != "INVALID_ARGUMENT" {
		t.Fatalf("fields %v, reason %q", wrong, reason)
	}
}

func TestAWatchShowsANewOrderAndEndsWhenItIsCancelled(t *testing.T) {
	ctx, orders := client(t)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch, err := orders.WatchOrders(ctx, &pb.WatchOrdersRequest{})
	must(t, err)
	first, err := watch.Recv()
	must(t, err)
	if first.Order != nil || first.ResumeToken == "" {
		t.Fatalf("not the beginning: %v", first)
	}
	created, err := orders.CreateOrder(ctx, &pb.CreateOrderRequest{Sku: "seen", Quantity: 1})
	must(t, err)
	seen, err := watch.Recv()
	must(t, err)
	if seen.Order.Id != created.Order.Id {
		t.Fatalf("another order: %v", seen.Order)
	}
	cancel()
	_, err = watch.Recv()
	mustBe(t, codes.Canceled, err)
}

func TestADeadlineEndsAWatch(t *testing.T) {
	ctx, orders := client(t)
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	watch, err := orders.WatchOrders(ctx, &pb.WatchOrdersRequest{})
	must(t, err)
	for err == nil {
		_, err = watch.Recv()
	}
	mustBe(t, codes.DeadlineExceeded, err)
}

func TestAnImportCountsWhatItAccepted(t *testing.T) {
	ctx, orders := client(t)
	call, err := orders.ImportOrders(ctx)
	must(t, err)
	for range 1000 {
		must(t, call.Send(&pb.ImportOrdersRequest{Sku: "tea", Quantity: 1}))
	}
	imported, err := call.CloseAndRecv()
	must(t, err)
	if imported.Created != 1000 || imported.Existing != 0 {
		t.Fatalf("imported: %v", imported)
	}
}

func TestAWrongOrderEndsAnImport(t *testing.T) {
	ctx, orders := client(t)
	call, err := orders.ImportOrders(ctx)
	must(t, err)
	must(t, call.Send(&pb.ImportOrdersRequest{Sku: "tea", Quantity: 0}))
	_, err = call.CloseAndRecv()
	mustBe(t, codes.InvalidArgument, err)
}

func TestEachRequestIsQuotedBeforeTheNextIsSent(t *testing.T) {
	ctx, orders := client(t)
	call, err := orders.QuoteOrders(ctx)
	must(t, err)
	for quantity := int32(1); quantity <= 100; quantity++ {
		must(t, call.Send(&pb.QuoteOrdersRequest{Sku: "tea", Quantity: quantity}))
		quote, err := call.Recv()
		must(t, err)
		if quote.Quantity != quantity || quote.TotalPriceCents <= 0 {
			t.Fatalf("quote %d: %v", quantity, quote)
		}
	}
	must(t, call.CloseSend())
	if _, err = call.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("%v, not the end", err)
	}
}

func TestACompressedCallIsUnderstoodAndTheTraceIsNamedInTheTrailer(t *testing.T) {
	ctx, orders := client(t)
	var trailer metadata.MD
	_, err := orders.ListOrders(
		ctx, &pb.ListOrdersRequest{}, grpc.UseCompressor(gzip.Name), grpc.Trailer(&trailer),
	)
	must(t, err)
	if ids := trailer.Get("x-trace-id"); len(ids) != 1 || len(ids[0]) != 32 {
		t.Fatalf("trailer: %v", trailer)
	}
}
