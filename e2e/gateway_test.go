package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
)

// sh are functions for agents that are shell scripts: a call of the gateway prints the
// status and then the body. Without somebody who holds its input open nc hangs up before
// the answer.
const sh = `
call() { # METHOD PATH [BODY [HEADER]]
	body=$3; host=${AGENT_GATEWAY_URL#http://}
	{ printf '%s %s HTTP/1.0\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Length: %s\r\n%s\r\n\r\n%s' \
		"$1" "$2" "$host" "$(cat $AGENT_TOKEN_FILE)" "${#body}" "${4:-X-Nothing: 1}" "$body"; sleep 9 & } |
		nc -w 10 ${host%:*} ${host##*:} > /tmp/answer
	sed -n '1s/^[^ ]* \([0-9]*\).*/\1/p' /tmp/answer
	sed '1,/^\r$/d' /tmp/answer
}
`

// eventsOf are the events of a run that its agent told.
func (s *Stack) agentEvents(t testing.TB, run string) (told []string) {
	t.Helper()
	var page struct {
		Items []struct {
			Type    string          `json:"type"`
			Message string          `json:"message"`
			Data    json.RawMessage `json:"data"`
		} `json:"items"`
	}
	require.Equal(t, http.StatusOK, s.get(t, "/v1/runs/"+run+"/events?limit=200", &page))
	for _, e := range page.Items {
		if strings.HasPrefix(e.Type, "agent_") {
			told = append(told, e.Type+" "+e.Message+" "+string(e.Data))
		}
	}
	return told
}

// TestGateway: what a pod gets through the gateway, and what of it is on the record.
func TestGateway(t *testing.T) {
	beside(t)
	s := Start(t)

	t.Run("input, events, heartbeat", func(t *testing.T) {
		s.registerShell(t, "tells", sh+`
			call GET /v1/input > input; call POST /v1/heartbeat > beat
			call POST /v1/events '{"events":[{"type":"progress","percent":50,"message":"half"},{"type":"note","message":"found","data":{"n":1}}]}' > events
			printf '{"input":%s,"beat":%s,"events":%s}' "$(sed 1d input)" "$(sed -n 1p beat)" "$(sed 1d events)"`, nil)
		run := s.untilEnded(t, s.startRun(t, "tells", map[string]any{"city": "Graz"}).ID, time.Minute)
		require.Equal(t, "succeeded", run.Status, "%+v", run)
		require.JSONEq(t, `{"input":{"city":"Graz"},"beat":204,"events":{"accepted":2}}`, string(run.Output))
		require.Equal(t, []string{`agent_progress half {"percent":50}`, `agent_note found {"n":1}`}, s.agentEvents(t, run.ID))
	})

	t.Run("artifacts and a large result", func(t *testing.T) {
		s.registerShell(t, "leaves", sh+`
			call PUT /v1/artifacts/report.txt 'all is well' 'Content-Type: text/plain' >&2
			call PUT /v1/artifacts/..%2Fescape x >&2
			printf '"%0100000d"' 0`, nil)
		run := s.untilEnded(t, s.startRun(t, "leaves", map[string]any{}).ID, time.Minute)
		require.Equal(t, "succeeded", run.Status, "%+v", run)
		status, output := s.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/output", nil, nil)
		require.Equal(t, http.StatusOK, status)
		require.Len(t, output, 100_002)
		var list struct {
			Items []struct {
				Name string `json:"name"`
				Size int64  `json:"size"`
			} `json:"items"`
		}
		require.Equal(t, http.StatusOK, s.get(t, "/v1/runs/"+run.ID+"/artifacts", &list))
		require.Len(t, list.Items, 1)
		require.Equal(t, "report.txt", list.Items[0].Name)
		status, body := s.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/artifacts/report.txt", nil, nil)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "all is well", string(body))
	})

	t.Run("a token is good for nothing else", func(t *testing.T) {
		s.registerShell(t, "misuses", sh+`
			mkdir -p .agentmarket; cp $AGENT_TOKEN_FILE .agentmarket/output.json; printf '"%s"' "$(cat $AGENT_TOKEN_FILE)" > .agentmarket/output.json`, nil)
		run := s.untilEnded(t, s.startRun(t, "misuses", map[string]any{}).ID, time.Minute)
		require.Equal(t, "succeeded", run.Status, "%+v", run)
		var token string
		require.NoError(t, json.Unmarshal(run.Output, &token))
		status, body := s.gatewayCall(t, token, http.MethodPost, "/v1/heartbeat")
		require.True(t, status == http.StatusConflict || status == http.StatusUnauthorized, "%d %s", status, body)
		status, _ = s.as(token).Call(t, http.MethodGet, "/v1/runs", nil, nil)
		require.Equal(t, http.StatusUnauthorized, status)
		require.Equal(t, http.StatusUnauthorized, s.apiServerSays(t, token))
	})
}

// gatewayCall is a call of the gateway from outside, with a token.
func (s *Stack) gatewayCall(t testing.TB, token, method, path string) (int, string) {
	t.Helper()
	return ask(t, http.DefaultClient, token, method, "http://"+s.gatewayAddress+path)
}

// apiServerSays is what the API server answers to who shows a token.
func (s *Stack) apiServerSays(t testing.TB, token string) int {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	require.NoError(t, err)
	authority := x509.NewCertPool()
	require.True(t, authority.AppendCertsFromPEM(config.CAData))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority, MinVersion: tls.VersionTLS12}}}
	status, _ := ask(t, client, token, http.MethodGet, config.Host+"/api/v1/namespaces/"+s.Namespace+"/pods")
	return status
}

func ask(t testing.TB, client *http.Client, token, method, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := client.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(text)
}
