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

// gateway is what the supervisor asks the gateway with. It has a client of its own:
// neither proxies nor anything else of the image's environment.
type gateway struct {
	launch agentruntime.Launch
	client *http.Client
}

func newGateway(l agentruntime.Launch) gateway {
	return gateway{l, &http.Client{Transport: &http.Transport{
		DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext, DisableKeepAlives: true,
	}}}
}

// do makes a call with the pod's token. Every answer is one, also a refusal.
func (g gateway) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	token, err := os.ReadFile(g.launch.TokenFile) // as it is now: it is replaced in time
	if err != nil {
		return nil, fmt.Errorf("read the token: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, method, g.launch.Gateway+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("call the gateway: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	request.Header.Set("Content-Type", "application/json")
	answer, err := g.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("call the gateway: %w", err)
	}
	return answer, nil
}

// call makes a call whose answer nobody reads. A refusal is an error.
func (g gateway) call(ctx context.Context, method, path string, body []byte) error {
	answer, err := g.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("call the gateway: %s %s: %s", method, path, answer.Status)
	}
	return nil
}

// callGateway returns what the supervisor calls the gateway with; nil: there is none.
func callGateway(l agentruntime.Launch) func(ctx context.Context, method, path string, body []byte) error {
	if l.Gateway == "" {
		return nil
	}
	return newGateway(l).call
}
