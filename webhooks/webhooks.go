package webhooks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"agentmarket/fault"
	"agentmarket/product"
	"agentmarket/publicnet"
)

// Config is how messages are sent.
type Config struct {
	// Insecure allows http and connects to any address, those of the platform's own
	// network included: for development and tests. Default: https and public
	// addresses only.
	Insecure bool
	// Private are networks of the platform beside those that are private by
	// themselves: no message goes there.
	Private []netip.Prefix
	// Timeout bounds a request from its first byte to the end of the answer.
	// Default: 15 seconds.
	Timeout time.Duration
	// Now is the clock of signatures. Default: time.Now.
	Now func() time.Time
}

// Sender sends messages. It is safe for concurrent use.
type Sender struct {
	insecure bool
	now      func() time.Time
	http     *http.Client
}

const (
	defaultTimeout = 15 * time.Second
	userAgent      = "agentmarket-webhooks"
	// maxAnswer is how much of an answer is read, so that its connection can be
	// used again. Nobody looks at it.
	maxAnswer = 4 << 10
)

// New returns a sender. It makes no request.
func New(cfg Config) *Sender {
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	transport := publicnet.Transport(cfg.Private...)
	if cfg.Insecure {
		transport = publicnet.AnyTransport()
	}
	transport.ResponseHeaderTimeout = 0 // that of the whole request is the bound
	return &Sender{insecure: cfg.Insecure, now: cfg.Now, http: &http.Client{
		Transport: transport, Timeout: cfg.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Send makes one try of a delivery. Whatever the endpoint answers is no error. An
// endpoint that does not answer is fault.Unavailable, with a message that says why
// and names neither the address nor what it leads to.
func (s *Sender) Send(ctx context.Context, e product.Endpoint, d product.Delivery) (product.WebhookAnswer, error) {
	request, err := s.request(ctx, e, d)
	if err != nil {
		return product.WebhookAnswer{}, err
	}
	response, err := s.http.Do(request)
	if err != nil {
		return product.WebhookAnswer{}, fault.New(fault.Unavailable, "", whyNot(err))
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer) // the status is the answer
	return product.WebhookAnswer{StatusCode: response.StatusCode, RetryAfter: s.retryAfter(response)}, nil
}

// request makes a signed request. An endpoint that is not what is allowed here is
// fault.Unavailable: it was stored under another configuration, which may come
// back.
func (s *Sender) request(ctx context.Context, e product.Endpoint, d product.Delivery) (*http.Request, error) {
	if product.CheckWebhookURL(e.URL, s.insecure) != nil {
		return nil, fault.New(fault.Unavailable, "", "messages are not sent to such an address here")
	}
	key, err := standardwebhooks.NewWebhook(e.Secret.Reveal())
	if err != nil { // it may repeat a part of the secret
		return nil, fault.New(fault.Unavailable, "", "the secret of the webhook cannot be read")
	}
	now := s.now()
	signature, err := key.Sign(string(d.ID), now, d.Payload)
	if err != nil {
		return nil, fmt.Errorf("sign delivery %s: %w", d.ID, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, bytes.NewReader(d.Payload))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "", "the address is not a URL")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", userAgent)
	request.Header.Set(standardwebhooks.HeaderWebhookID, string(d.ID))
	request.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	request.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	return request, nil
}

// retryAfter reads how long an overloaded endpoint asks to be left alone.
func (s *Sender) retryAfter(response *http.Response) time.Duration {
	if response.StatusCode != http.StatusTooManyRequests && response.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	text := response.Header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(s.now()))
	}
	return 0
}

// whyNot words the end of a request without an answer. What the error itself says
// would tell the addresses of the platform's network, and repeat the URL.
func whyNot(err error) string {
	var (
		dns  *net.DNSError
		cert *tls.CertificateVerificationError
		wait net.Error
	)
	switch {
	case errors.Is(err, publicnet.ErrNotPublic), errors.As(err, &dns): // one text: which names exist inside is nobody's business
		return "the host has no public address"
	case errors.As(err, &cert):
		return "the certificate of the host is not valid"
	case errors.As(err, &wait) && wait.Timeout():
		return "there was no answer in time"
	default:
		return "the connection failed"
	}
}
