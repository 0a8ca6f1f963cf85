package webhooks_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"agentmarket/fault"
	"agentmarket/product"
	"agentmarket/webhooks"
)

// receiver is an endpoint that verifies what it gets as the specification's own
// library does.
type receiver struct {
	*httptest.Server
	endpoint product.Endpoint
	answer   http.HandlerFunc // after the verification
	asked    int
}

func receive(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	secret := product.NewWebhookSecret()
	key, err := standardwebhooks.NewWebhook(secret.Reveal())
	require.NoError(t, err)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.asked++
		body, err := io.ReadAll(request.Body)
		if err == nil {
			err = key.Verify(body, request.Header)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusTeapot)
			return
		}
		request.Body = io.NopCloser(bytes.NewReader(body))
		r.answer(w, request)
	}))
	t.Cleanup(r.Close)
	r.endpoint, err = product.NewEndpoint("org_1", r.URL+"/hooks?of=test", secret.Reveal(), true, time.Now())
	require.NoError(t, err)
	return r
}

func delivery(e product.Endpoint) product.Delivery {
	return product.NewDelivery(e, "", product.WebhookTest, product.TestPayload(e.ID, time.Now()), time.Now())
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestSend(t *testing.T) {
	var got *http.Request
	var body []byte
	r := receive(t, func(w http.ResponseWriter, request *http.Request) {
		got = request
		body, _ = io.ReadAll(request.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	d := delivery(r.endpoint)
	answer, err := webhooks.New(webhooks.Config{Insecure: true}).Send(t.Context(), r.endpoint, d)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(product.WebhookAnswer{StatusCode: http.StatusNoContent}, answer))
	require.True(t, answer.Accepted())
	require.Equal(t, http.MethodPost, got.Method)
	require.Equal(t, "/hooks?of=test", got.RequestURI)
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	require.Equal(t, "agentmarket-webhooks", got.Header.Get("User-Agent"))
	require.Equal(t, string(d.ID), got.Header.Get("webhook-id"))
	require.Equal(t, string(d.Payload), string(body))
}

func TestSendSignsWithTheSecretOfTheEndpoint(t *testing.T) {
	r := receive(t, status(http.StatusOK))
	sender := webhooks.New(webhooks.Config{Insecure: true})
	other := r.endpoint
	other.Secret = product.NewWebhookSecret()
	answer, err := sender.Send(t.Context(), other, delivery(other))
	require.NoError(t, err)
	require.Equal(t, http.StatusTeapot, answer.StatusCode, "the library refuses it")

	old := webhooks.New(webhooks.Config{Insecure: true, Now: func() time.Time { return time.Now().Add(-time.Hour) }})
	answer, err = old.Send(t.Context(), r.endpoint, delivery(r.endpoint))
	require.NoError(t, err)
	require.Equal(t, http.StatusTeapot, answer.StatusCode, "a message of long ago may be a replay")
}

func TestAnswers(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	for _, tt := range []struct {
		name       string
		status     int
		retryAfter string
		want       time.Duration
		accepted   bool
	}{
		{"accepted", 202, "", 0, true},
		{"last of its kind", 299, "", 0, true},
		{"a success does not ask for time", 200, "60", 0, true},
		{"a redirect is a failure", 302, "", 0, false},
		{"wrong", 400, "60", 0, false},
		{"gone", 410, "", 0, false},
		{"too many", 429, "120", 2 * time.Minute, false},
		{"too many, a date", 429, now.Add(time.Hour).UTC().Format(http.TimeFormat), time.Hour, false},
		{"too many, a date that has passed", 429, now.Add(-time.Hour).UTC().Format(http.TimeFormat), 0, false},
		{"too many, negative", 429, "-5", 0, false},
		{"too many, nonsense", 429, "soon", 0, false},
		{"too many, no number of seconds", 429, strings.Repeat("9", 30), 0, false},
		{"unavailable", 503, "7", 7 * time.Second, false},
		{"broken", 500, "7", 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
				if tt.retryAfter != "" {
					w.Header().Set("Retry-After", tt.retryAfter)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
			})
			sender := webhooks.New(webhooks.Config{Insecure: true, Now: func() time.Time { return now }})
			answer, err := sender.Send(t.Context(), r.endpoint, delivery(r.endpoint))
			require.NoError(t, err)
			require.Empty(t, cmp.Diff(product.WebhookAnswer{StatusCode: tt.status, RetryAfter: tt.want}, answer))
			require.Equal(t, tt.accepted, answer.Accepted())
			require.Equal(t, tt.status == http.StatusGone, answer.Gone())
			require.Equal(t, 1, r.asked, "no redirect is followed")
		})
	}
}

// TestSendStaysOutside: nobody makes the platform speak to itself or to its
// neighbors by the address of a webhook.
func TestSendStaysOutside(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	asked := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	require.NoError(t, err)
	sender := webhooks.New(webhooks.Config{})
	for _, host := range []string{
		"127.0.0.1", "127.1.2.3", "localhost", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
		"::1", "::", "fc00::1", "fd00:ec2::254", "fe80::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "::7f00:1",
	} {
		e, err := product.NewEndpoint("org_1", "https://"+net.JoinHostPort(host, at.Port())+"/path-secret", "", false, time.Now())
		require.NoError(t, err)
		_, err = sender.Send(t.Context(), e, delivery(e))
		require.Equal(t, fault.Unavailable, fault.KindOf(err), host)
		require.EqualError(t, err, "the host has no public address", host)
	}
	require.Zero(t, asked)
}

func TestSendRefusesWhatIsNotAllowedHere(t *testing.T) {
	r := receive(t, status(http.StatusOK))
	_, err := webhooks.New(webhooks.Config{}).Send(t.Context(), r.endpoint, delivery(r.endpoint))
	require.EqualError(t, err, "messages are not sent to such an address here", "an endpoint of the time when http was allowed")

	e := r.endpoint
	e.Secret = "whsec_!not base64!"
	_, err = webhooks.New(webhooks.Config{Insecure: true}).Send(t.Context(), e, delivery(e))
	require.EqualError(t, err, "the secret of the webhook cannot be read")
	require.Zero(t, r.asked)
}

func TestNoAnswer(t *testing.T) {
	hangs := make(chan struct{})
	slow := receive(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hangs:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(hangs) })
	drops := receive(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	gone := receive(t, nil)
	gone.Close()
	certificate := httptest.NewTLSServer(status(http.StatusOK))
	t.Cleanup(certificate.Close)

	at := func(url string) product.Endpoint {
		return product.Endpoint{ID: "whk_1", URL: url, Secret: product.NewWebhookSecret()}
	}
	for _, tt := range []struct {
		to       product.Endpoint
		patience time.Duration
		want     string
	}{
		{slow.endpoint, 300 * time.Millisecond, "there was no answer in time"},
		{drops.endpoint, time.Minute, "the connection failed"},
		{gone.endpoint, time.Minute, "the connection failed"},
		{at(certificate.URL), time.Minute, "the certificate of the host is not valid"},
		{at("https://webhook.invalid/hub"), time.Minute, "the host has no public address"},
	} {
		sender := webhooks.New(webhooks.Config{Insecure: true, Timeout: tt.patience})
		_, err := sender.Send(t.Context(), tt.to, delivery(tt.to))
		require.Error(t, err, tt.want)
		require.Equal(t, fault.Unavailable, fault.KindOf(err))
		require.EqualError(t, err, tt.want)
	}
}

// TestLongAnswer: what an endpoint says is not read to its end.
func TestLongAnswer(t *testing.T) {
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	})
	answer, err := webhooks.New(webhooks.Config{Insecure: true}).Send(t.Context(), r.endpoint, delivery(r.endpoint))
	require.NoError(t, err)
	require.True(t, answer.Accepted())
}
