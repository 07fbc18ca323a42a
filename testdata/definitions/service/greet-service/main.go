// Command greet-service greets over HTTP.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello, world") })
	log.Fatal(http.ListenAndServe(os.Getenv("LISTEN"), nil))
}
