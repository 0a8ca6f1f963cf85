package tools

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

const (
	// overhead is what an answer has beside its result.
	overhead = 64 << 10
	// goodbyeTimeout is how long a server may take to hear that a session ends.
	goodbyeTimeout = 5 * time.Second
)

// Why a call of a server ends before its answer.
var (
	errTooLarge = errors.New("the answer of the server is too large")
	errTimeout  = errors.New("the server took too long")
)

// connection is a session with a server, for one call.
type connection struct {
	session *mcp.ClientSession
	headers http.Header // the credentials
	ctx     context.Context
	end     context.CancelCauseFunc
}

// connect begins a session that lasts no longer than its time, and reads at most so many
// bytes.
func (e *endpoint) connect(ctx context.Context, s Server, timeout time.Duration, most int64) (connection, error) {
	ctx, end := context.WithCancelCause(ctx)
	timer := time.AfterFunc(timeout, func() { end(errTimeout) })
	context.AfterFunc(ctx, func() { timer.Stop() })
	c := connection{ctx: ctx, end: end}
	carrier := &carrier{next: cmp.Or(s.HTTPClient, e.HTTPClient).Transport, left: most + overhead, end: end}
	if carrier.next == nil {
		carrier.next = http.DefaultTransport
	}
	if s.Headers != nil {
		headers, err := s.Headers(ctx)
		if err != nil {
			end(nil)
			return connection{}, fmt.Errorf("read credentials of server %s: %w", s.Name, err)
		}
		carrier.headers = headers
	}
	client := mcp.NewClient(&mcp.Implementation{Name: "agentmarket", Version: "1"}, &mcp.ClientOptions{
		Capabilities: &mcp.ClientCapabilities{}, MultiRoundTrip: &mcp.MultiRoundTripOptions{Disabled: true},
	})
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: s.URL, MaxRetries: -1, DisableStandaloneSSE: true, MaxEventSize: -1, // the carrier bounds them
		HTTPClient: &http.Client{
			Transport: carrier, Timeout: timeout + goodbyeTimeout, // the context ends the call before
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil)
	if err != nil {
		err = fmt.Errorf("connect to server %s: %w", s.Name, because(ctx, err))
		end(nil)
		return connection{}, err
	}
	c.session, c.headers = session, carrier.headers
	return c, nil
}

// close ends the session. Nobody waits for the server to hear of it.
func (c connection) close() {
	go func() {
		_ = c.session.Close()
		c.end(nil)
	}()
}

// leaks reports whether a text has a credential of the server, as that of a tool has that
// tells what it was asked with.
func (c connection) leaks(text []byte) bool {
	const shortest = 8 // what is shorter is none
	for _, values := range c.headers {
		for _, value := range values {
			_, token, _ := strings.Cut(value, " ")
			for _, secret := range []string{value, token} {
				if len(secret) >= shortest && bytes.Contains(text, []byte(secret)) {
					return true
				}
			}
		}
	}
	return false
}

// because is why a call failed: the reason for which it was ended, where it was.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// carrier carries the requests of one session: it adds the credentials, and bounds all
// that the server says.
type carrier struct {
	next    http.RoundTripper
	headers http.Header
	left    int64
	end     context.CancelCauseFunc
}

// RoundTrip implements http.RoundTripper.
func (c *carrier) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, values := range c.headers {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	response, err := c.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	response.Body = &boundedBody{response.Body, c.left, c.end}
	return response, nil
}

// boundedBody ends the call where an answer is too large.
type boundedBody struct {
	io.ReadCloser
	left int64
	end  context.CancelCauseFunc
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.end(errTooLarge)
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}

// validate refuses a server that is not set up right.
func (s Server) validate() error {
	at, err := url.Parse(s.URL)
	switch {
	case !serverName.MatchString(s.Name):
		return fmt.Errorf("server %.40q: the name has 1 to 24 lower-case letters, digits and hyphens", s.Name)
	case err != nil || at.Scheme != "https" && at.Scheme != "http" || at.Host == "" || at.User != nil:
		return fmt.Errorf("server %s: the URL is not one of HTTP without a credential", s.Name)
	case s.Timeout < 0 || s.MaxBytes < 0:
		return fmt.Errorf("server %s: a bound is below zero", s.Name)
	}
	return nil
}

func (s Server) timeout() time.Duration {
	if s.Timeout == 0 {
		return defaultTimeout
	}
	return s.Timeout
}

func (s Server) maxBytes() int64 {
	if s.MaxBytes == 0 {
		return defaultMaxBytes
	}
	return s.MaxBytes
}
