package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/fault"
)

const manifestPath = "/v2/acme/hello/manifests/"

// aRegistry serves HTTPS, and records what it was asked.
type aRegistry struct {
	*httptest.Server
	asked []string // METHOD path, with the credential where there is one
}

func serve(t *testing.T, handler func(r *aRegistry, w http.ResponseWriter, q *http.Request)) *aRegistry {
	t.Helper()
	r := &aRegistry{}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		line := q.Method + " " + q.URL.RequestURI()
		if credential := q.Header.Get("Authorization"); credential != "" {
			line += " " + credential
		}
		r.asked = append(r.asked, line)
		handler(r, w, q)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *aRegistry) image() string { return r.Listener.Addr().String() + "/acme/hello@" + digest }

func (r *aRegistry) client() *Client {
	return New(Config{Transport: r.Client().Transport})
}

// challenge asks for a token from the path /token of the same server.
func (r *aRegistry) challenge(w http.ResponseWriter) {
	w.Header().Add("WWW-Authenticate", `Basic realm="people"`)
	w.Header().Add("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token?kind=pull",service="images",scope="repository:of/others:pull,push"`, r.URL))
	w.WriteHeader(http.StatusUnauthorized)
}

// status answers everything in the same way.
func status(code int) func(*aRegistry, http.ResponseWriter, *http.Request) {
	return func(_ *aRegistry, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func TestResolveOfAnOpenRegistry(t *testing.T) {
	var accept []string
	r := serve(t, func(_ *aRegistry, _ http.ResponseWriter, q *http.Request) { accept = q.Header.Values("Accept") })
	require.NoError(t, r.client().Resolve(t.Context(), r.image()))
	require.Equal(t, []string{"HEAD " + manifestPath + digest}, r.asked)
	require.Equal(t, manifestTypes, accept, "an index is an image, too")
}

// tokenServer gives the answer as a token, and the manifest to who brings t0k.
func tokenServer(code int, answer string) func(*aRegistry, http.ResponseWriter, *http.Request) {
	return func(r *aRegistry, w http.ResponseWriter, q *http.Request) {
		switch {
		case q.URL.Path == "/token":
			w.WriteHeader(code)
			_, _ = w.Write([]byte(answer))
		case q.Header.Get("Authorization") != "Bearer t0k":
			r.challenge(w)
		}
	}
}

func TestResolveWithAToken(t *testing.T) {
	for _, answer := range []string{`{"token":"t0k","expires_in":60}`, `{"access_token":"t0k"}`} {
		r := serve(t, tokenServer(http.StatusOK, answer))
		require.NoError(t, r.client().Resolve(t.Context(), r.image()))
		require.Equal(t, []string{
			"HEAD " + manifestPath + digest,
			"GET /token?kind=pull&scope=repository%3Aacme%2Fhello%3Apull&service=images",
			"HEAD " + manifestPath + digest + " Bearer t0k",
		}, r.asked, "for pulling this repository, whatever the challenge says")
	}
}

func TestResolveFails(t *testing.T) {
	for name, tt := range map[string]struct {
		handler func(*aRegistry, http.ResponseWriter, *http.Request)
		kind    fault.Kind
		asked   int
	}{
		"no such image":                    {status(http.StatusNotFound), fault.Invalid, 1},
		"a name that it does not take":     {status(http.StatusBadRequest), fault.Invalid, 1},
		"not for everybody":                {status(http.StatusForbidden), fault.Invalid, 1},
		"a challenge without a word":       {status(http.StatusUnauthorized), fault.Invalid, 1},
		"broken":                           {status(http.StatusInternalServerError), fault.Unavailable, 1},
		"too many questions":               {status(http.StatusTooManyRequests), fault.Unavailable, 1},
		"a token that opens nothing":       {tokenServer(http.StatusOK, `{"token":"other"}`), fault.Invalid, 3},
		"a token service that refuses":     {tokenServer(http.StatusForbidden, ``), fault.Invalid, 2},
		"a token service that is broken":   {tokenServer(http.StatusBadGateway, ``), fault.Unavailable, 2},
		"a token that cannot be read":      {tokenServer(http.StatusOK, `<html>`), fault.Unavailable, 2},
		"no token":                         {tokenServer(http.StatusOK, `{}`), fault.Unavailable, 2},
		"a token without an end":           {tokenServer(http.StatusOK, `{"token":"`+strings.Repeat("t", maxToken)+`"}`), fault.Unavailable, 2},
		"wants a password":                 {challenge(`Basic realm="people"`), fault.Invalid, 1},
		"wants a token from nowhere":       {challenge(`Bearer service="images"`), fault.Invalid, 1},
		"wants a token without TLS":        {challenge(`Bearer realm="http://127.0.0.1/token"`), fault.Invalid, 1},
		"wants a token from a file":        {challenge(`Bearer realm="file:///etc/passwd"`), fault.Invalid, 1},
		"goes round in circles":            {redirect(http.StatusTemporaryRedirect, "/v2/again"), fault.Unavailable, 1 + maxRedirects},
		"leads to a place without TLS":     {redirect(http.StatusFound, "http://127.0.0.1/v2/x"), fault.Unavailable, 1},
		"hangs up in the middle of a word": {func(*aRegistry, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Unavailable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := serve(t, tt.handler)
			err := r.client().Resolve(t.Context(), r.image())
			require.Equal(t, tt.kind, fault.KindOf(err), "%v", err)
			if tt.kind == fault.Invalid {
				require.Equal(t, CodeNotFound, fault.From(err).Code)
			}
			require.Contains(t, fault.From(err).Message, r.Listener.Addr().String(), "it says whom to ask")
			if tt.asked > 0 { // a broken connection may be tried again
				require.Len(t, r.asked, tt.asked, "%v", r.asked)
			}
		})
	}
}

func challenge(text string) func(*aRegistry, http.ResponseWriter, *http.Request) {
	return func(_ *aRegistry, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", text)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func redirect(code int, to string) func(*aRegistry, http.ResponseWriter, *http.Request) {
	return func(_ *aRegistry, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(code)
	}
}

func TestResolveFollowsARegistryThatMoved(t *testing.T) {
	r := serve(t, func(_ *aRegistry, w http.ResponseWriter, q *http.Request) {
		if strings.HasPrefix(q.URL.Path, manifestPath) {
			w.Header().Set("Location", "/v2/moved")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}
	})
	require.NoError(t, r.client().Resolve(t.Context(), r.image()))
	require.Equal(t, []string{"HEAD " + manifestPath + digest, "HEAD /v2/moved"}, r.asked)
}

func TestResolveDoesNotWaitForEver(t *testing.T) {
	r := serve(t, func(_ *aRegistry, _ http.ResponseWriter, q *http.Request) { <-q.Context().Done() })
	c := New(Config{Transport: r.Client().Transport, Timeout: 20 * time.Millisecond})
	err := c.Resolve(t.Context(), r.image())
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// roundTrip answers requests without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestResolveOfAHostThatIsNone(t *testing.T) {
	for _, tt := range []struct {
		err  error
		kind fault.Kind
	}{
		{&net.DNSError{Err: "no such host", Name: "registry.example", IsNotFound: true}, fault.Invalid},
		{&net.DNSError{Err: "server misbehaving", Name: "registry.example", IsTemporary: true}, fault.Unavailable},
		{errors.New("connection refused"), fault.Unavailable},
	} {
		c := New(Config{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return nil, &net.OpError{Op: "dial", Err: tt.err}
		})})
		err := c.Resolve(t.Context(), "registry.example/acme/hello@"+digest)
		require.Equal(t, tt.kind, fault.KindOf(err))
		require.Contains(t, fault.From(err).Message, "registry.example")
		require.NotContains(t, fault.From(err).Message, "dial", "what the network says is for operators")
	}
}

func TestResolveAsksNobody(t *testing.T) {
	c := New(Config{
		Preloaded: []string{"agents.local", "registry.example/team/"},
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) { return nil, errors.New("asked " + r.URL.Host) }),
	})
	require.NoError(t, c.Resolve(t.Context(), "agents.local/hello@"+digest))
	require.NoError(t, c.Resolve(t.Context(), "registry.example/team/hello@"+digest))
	require.Equal(t, fault.Unavailable, fault.KindOf(c.Resolve(t.Context(), "registry.example/other/hello@"+digest)))

	err := c.Resolve(t.Context(), "registry.example/other/hello:latest")
	require.Equal(t, fault.Invalid, fault.KindOf(err), "a tag is no image: it can be moved")
	require.Equal(t, CodeNotFound, fault.From(err).Code)
}
