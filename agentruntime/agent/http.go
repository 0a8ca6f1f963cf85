package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

var (
	// ErrNoGateway is of calls where the cluster has no gateway.
	ErrNoGateway = errors.New("the run has no gateway")
	// ErrSessionClosed is of calls of a run or an attempt that is over: stop working.
	ErrSessionClosed = errors.New("the run does not go on")
	// ErrBudgetExhausted is of calls that the budget of the run does not pay for: the
	// run ends. What a child may not have is an error of its own.
	ErrBudgetExhausted = errors.New("the budget of the run has no room")
)

// Error is an answer of the gateway that is no success. [errors.Is] knows
// [ErrSessionClosed] and [ErrBudgetExhausted] in it.
type Error struct {
	Status int    // of HTTP
	Code   string // stable
	Detail string // for people
}

func (e *Error) Error() string {
	return fmt.Sprintf("the gateway answered %d %s: %s", e.Status, e.Code, e.Detail)
}

// Is compares the error with those of this package.
func (e *Error) Is(target error) bool {
	return target == ErrSessionClosed && e.Code == "session_closed" ||
		target == ErrBudgetExhausted && e.Code == "budget_exhausted"
}

const (
	maxTries  = 5
	firstWait = 500 * time.Millisecond
	maxWait   = 30 * time.Second
	maxAnswer = 16 << 20
)

// errOnce is of a body that cannot be sent again.
var errOnce = errors.New("the body can be sent once")

// withToken adds the token to calls of one origin.
type withToken struct {
	origin, file string
	gateway      http.RoundTripper // never through the proxy, which is for granted hosts
	next         http.RoundTripper
}

func newClient(gateway, file string) *http.Client {
	direct := &http.Transport{ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second}
	t := withToken{file: file, gateway: direct, next: http.DefaultTransport}
	if u, err := url.Parse(gateway); err == nil && gateway != "" {
		t.origin = u.Scheme + "://" + u.Host
	}
	return &http.Client{Transport: t}
}

func (t withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.origin == "" || r.URL.Scheme+"://"+r.URL.Host != t.origin {
		return t.next.RoundTrip(r)
	}
	// The file is replaced while a long run goes on.
	token, err := os.ReadFile(t.file)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, fmt.Errorf("read token: %w", err)
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	return t.gateway.RoundTrip(r)
}

// call makes a call with a JSON body, and again while the gateway asks for patience.
func (r *Run) call(ctx context.Context, method, path, key string, body, into any) error {
	var sent []byte
	if body != nil {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encode call: %w", err)
		}
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if key != "" {
		header.Set("Idempotency-Key", key)
	}
	answer, err := r.send(ctx, method, path, header, func() (io.Reader, error) { return bytes.NewReader(sent), nil })
	if err == nil && into != nil {
		if err = json.Unmarshal(answer, into); err != nil {
			err = fmt.Errorf("read answer of %s: %w", path, err)
		}
	}
	return err
}

// send makes a call up to maxTries times; body gives the body of each try, or errOnce
// when it cannot be sent again.
func (r *Run) send(ctx context.Context, method, path string, header http.Header, body func() (io.Reader, error)) ([]byte, error) {
	if r.gateway == "" {
		return nil, ErrNoGateway
	}
	var last error
	for try, wait := 1, firstWait; ; try, wait = try+1, wait*2 {
		from, err := body()
		switch {
		case errors.Is(err, errOnce):
			return nil, last
		case err != nil:
			return nil, err
		}
		request, err := http.NewRequestWithContext(ctx, method, r.gateway+path, from)
		if err != nil {
			return nil, fmt.Errorf("call gateway: %w", err)
		}
		request.Header = header.Clone()
		response, err := r.client.Do(request)
		if err != nil {
			return nil, fmt.Errorf("call gateway: %w", err)
		}
		answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
		_ = response.Body.Close()
		switch {
		case err != nil:
			return nil, fmt.Errorf("read answer of %s: %w", path, err)
		case len(answer) > maxAnswer:
			return nil, fmt.Errorf("read answer of %s: it has more than %d bytes", path, maxAnswer)
		case response.StatusCode < 300:
			return answer, nil
		}
		problem := &Error{Status: response.StatusCode}
		_ = json.Unmarshal(answer, problem) // another body leaves the status
		problem.Status = response.StatusCode
		last = problem
		again := problem.Status == http.StatusTooManyRequests || problem.Status == http.StatusServiceUnavailable
		if !again || try == maxTries {
			return nil, last
		}
		pause := wait
		if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds >= 0 {
			pause = time.Duration(min(seconds, int(maxWait/time.Second))) * time.Second
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("call gateway: %w", errors.Join(ctx.Err(), last))
		case <-time.After(pause):
		}
	}
}
