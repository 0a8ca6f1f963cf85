// Package freeport finds ports of loopback for servers of the development stack
// and of tests.
//
// The ports are below those that the kernel gives to outgoing connections: one
// of those may be taken by a client between finding and using it, which happens
// on a busy machine.
package freeport

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

const (
	lowest  = 12000
	highest = 19999
	tries   = 200
)

// Find returns n different ports that nothing listens on.
func Find(n int) ([]int, error) {
	var ports []int
	var held []net.Listener // until all are found, so that they differ
	defer func() {
		for _, listener := range held {
			_ = listener.Close()
		}
	}()
	for range tries {
		if len(ports) == n {
			break
		}
		port := lowest + rand.IntN(highest-lowest+1) //nolint:gosec // not a secret
		listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		held = append(held, listener)
		ports = append(ports, port)
	}
	if len(ports) < n {
		return nil, fmt.Errorf("find %d free ports from %d to %d: found %d", n, lowest, highest, len(ports))
	}
	return ports, nil
}
