// A server of the Beats protocol by Elastic's own go-lumber, in the place of Logstash: each batch becomes one bulk
// request, and is acknowledged once it is indexed. What Elasticsearch refuses goes to the dead letters, as text.
// usage: beats LISTEN ELASTICSEARCH_URL; the user and password are in the URL.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/elastic/go-lumber/server"
)

type line = map[string]any

type answer struct {
	Items []struct {
		Create struct {
			Error json.RawMessage
		}
	}
}

func main() {
	listener, err := server.ListenAndServe(os.Args[1], server.V2(true), server.V1(false))
	if err != nil {
		log.Fatal(err)
	}
	log.Print("listening")
	for batch := range listener.ReceiveChan() {
		if err := index(os.Args[2], batch.Events); err != nil {
			log.Print("not acknowledged: ", err)
			continue
		}
		batch.ACK()
	}
}

func index(url string, events []any) error {
	result, err := bulk(url, "service-logs", events)
	if err != nil {
		return err
	}
	var dead []any
	for number, item := range result.Items {
		if item.Create.Error != nil {
			text, _ := json.Marshal(events[number])
			dead = append(dead, line{"@timestamp": time.Now().UTC().Format(time.RFC3339), "line": string(text), "reason": string(item.Create.Error)})
		}
	}
	if dead != nil {
		_, err = bulk(url, "dead-letter", dead)
	}
	return err
}

func bulk(url string, prefix string, events []any) (answer, error) {
	var body bytes.Buffer
	for _, event := range events {
		text, _ := json.Marshal(event)
		fmt.Fprintf(&body, "{\"create\":{\"_index\":\"%s-%s\"}}\n%s\n", prefix, day(event.(line)), text)
	}
	var result answer
	response, err := http.Post(url+"/_bulk", "application/x-ndjson", &body)
	if err != nil {
		return result, err
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		return result, fmt.Errorf("%s", response.Status)
	}
	return result, json.NewDecoder(response.Body).Decode(&result)
}

func day(event line) string {
	at, _ := event["@timestamp"].(string)
	if len(at) < 10 {
		at = time.Now().UTC().Format(time.RFC3339)
	}
	return strings.ReplaceAll(at[:10], "-", ".")
}
