package main

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/farmspec/farmspec/simfarm"
)

// tell serves a reference farm's own numbers at an address, host and port. It
// returns where they are read, and what ends it.
func tell(numbers *simfarm.Metrics, address string) (string, func(), error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", nil, fmt.Errorf("tell the farm's numbers: %w", err)
	}
	s := &http.Server{Handler: numbers, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.Serve(listener) }() // until it is closed
	return "http://" + listener.Addr().String() + "/metrics", func() { _ = s.Close() }, nil
}
