package gateway_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"agentmarket/ids"
	"agentmarket/product"
)

// outside is a server on this computer, and its host and port as an entry of egress.
func outside(t *testing.T) (entry string, server *httptest.Server) {
	t.Helper()
	server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/waits" {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, "hello from outside")
	}))
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	require.NoError(t, err)
	return "api.example.com:" + at.Port(), server
}

// connecting is a run that is granted some hosts, its token, and a client for them.
func (f *fixture) connecting(server *httptest.Server, hosts ...string) (product.Run, string, *http.Client) {
	f.t.Helper()
	run, token := f.going(1)
	f.update(run.ID, func(r *product.Run) ([]*product.Event, error) {
		r.Plan.Egress = hosts
		return nil, nil
	})
	return run, token, f.client(server, token)
}

func (f *fixture) client(server *httptest.Server, token string) *http.Client {
	f.t.Helper()
	proxy, err := url.Parse(f.http.URL)
	require.NoError(f.t, err)
	authorities := x509.NewCertPool()
	authorities.AddCert(server.Certificate())
	transport := &http.Transport{
		Proxy:              http.ProxyURL(proxy),
		ProxyConnectHeader: http.Header{"Proxy-Authorization": {"Bearer " + token}},
		TLSClientConfig:    &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12},
	}
	f.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (f *fixture) get(client *http.Client, url string) (*http.Response, error) {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, url, nil)
	require.NoError(f.t, err)
	return client.Do(request)
}

// connections are what the record of a run says of them.
func (f *fixture) connections(run ids.Run) (said []product.Event) {
	f.t.Helper()
	log, err := f.db.Runs().Events(f.t.Context(), run, 0, 0)
	require.NoError(f.t, err)
	for _, e := range log {
		if e.Type.FromSession() {
			said = append(said, e)
		}
	}
	return said
}

func (f *fixture) untilConnections(run ids.Run, n int) []product.Event {
	f.t.Helper()
	require.Eventually(f.t, func() bool { return len(f.connections(run)) >= n }, 10*time.Second, 10*time.Millisecond, "they are on the record")
	said := f.connections(run)
	require.Len(f.t, said, n)
	return said
}

func TestConnections(t *testing.T) {
	f := newFixture(t)
	host, server := outside(t)
	run, _, client := f.connecting(server, host)
	answer, err := f.get(client, "https://"+host)
	require.NoError(t, err)
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, "hello from outside", string(text))
	began := f.untilConnections(run.ID, 1)[0]
	require.Equal(t, product.EventEgressBegan, began.Type)
	require.Equal(t, host, began.Message)
	require.Equal(t, 1, began.Attempt)
	_, port, _ := cut(host)
	require.JSONEq(t, fmt.Sprintf(`{"host":"api.example.com","port":%s,"address":"127.0.0.1"}`, port), string(began.Data))
	client.CloseIdleConnections()
	ended := f.untilConnections(run.ID, 2)[1]
	require.Equal(t, product.EventEgressEnded, ended.Type)
	require.Regexp(t, `"outcome":"(closed|broken)","sent_bytes":[1-9]\d+,"received_bytes":[1-9]\d+,"duration_ms":\d+}$`, string(ended.Data))

	_, err = f.get(client, "https://other.example.com")
	require.ErrorContains(t, err, "Forbidden")
	refused := f.untilConnections(run.ID, 3)[2]
	require.Equal(t, product.EventEgressRefused, refused.Type)
	require.JSONEq(t, `{"host":"other.example.com","port":443,"outcome":"not_granted"}`, string(refused.Data))
}

// cut is the host and the port of an entry.
func cut(entry string) (host, port string, number int) {
	u := url.URL{Host: entry}
	number, _ = strconv.Atoi(u.Port())
	return u.Hostname(), u.Port(), number
}

func TestConnectionsNeedTheToken(t *testing.T) {
	f := newFixture(t)
	host, server := outside(t)
	_, err := f.get(f.client(server, "other"), "https://"+host)
	require.ErrorContains(t, err, "Unauthorized")
	_, _, client := f.connecting(server)
	_, err = f.get(client, "https://"+host)
	require.ErrorContains(t, err, "Forbidden")
	_, err = f.get(client, "http://"+host)
	require.NoError(t, err, "a problem: plain HTTP goes nowhere")
}

// TestConnectionsEndWithTheSession: soon, and their end is on the record.
func TestConnectionsEndWithTheSession(t *testing.T) {
	f := newFixture(t)
	host, server := outside(t)
	run, _, client := f.connecting(server, host)
	other, _, goesOn := f.connecting(server, host)
	answer, err := f.get(client, "https://"+host+"/waits")
	require.NoError(t, err)
	defer answer.Body.Close()
	onward, err := f.get(goesOn, "https://"+host+"/waits")
	require.NoError(t, err)
	defer onward.Body.Close()

	f.cancel(run.ID)
	_, err = io.ReadAll(answer.Body)
	require.Error(t, err)
	ended := f.untilConnections(run.ID, 2)[1]
	require.Contains(t, string(ended.Data), `"outcome":"session_ended"`)
	_, err = f.get(client, "https://"+host)
	require.ErrorContains(t, err, "Conflict")
	require.Len(t, f.connections(run.ID), 2)
	require.Len(t, f.connections(other.ID), 1)
}
