package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"agentmarket/agentruntime"
)

// connectTimeout is short: a gateway that is away must not hold up the end of a run.
const connectTimeout = 500 * time.Millisecond

// callGateway returns what the supervisor calls the gateway with; nil: there is none.
func callGateway(l agentruntime.Launch) func(ctx context.Context, method, path string, body []byte) error {
	if l.Gateway == "" {
		return nil
	}
	// Of its own: neither proxies nor anything else of the image's environment.
	client := &http.Client{Transport: &http.Transport{
		DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext, DisableKeepAlives: true,
	}}
	return func(ctx context.Context, method, path string, body []byte) error {
		token, err := os.ReadFile(l.TokenFile) // as it is now: it is replaced in time
		if err != nil {
			return fmt.Errorf("read the token: %w", err)
		}
		request, err := http.NewRequestWithContext(ctx, method, l.Gateway+path, bytes.NewReader(body))
		if err != nil {
			return fmt.Errorf("call the gateway: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		request.Header.Set("Content-Type", "application/json")
		answer, err := client.Do(request)
		if err != nil {
			return fmt.Errorf("call the gateway: %w", err)
		}
		defer answer.Body.Close()
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
		if answer.StatusCode/100 != 2 {
			return fmt.Errorf("call the gateway: %s %s: %s", method, path, answer.Status)
		}
		return nil
	}
}
