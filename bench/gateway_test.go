package bench

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"agentmarket/internal/simulate"
	"agentmarket/internal/testenv"
	"agentmarket/product"
)

const (
	openRuns     = 1000
	eventClients = 48
	eventRound   = 20_000

	maxGatewayMiB = 100
	maxEventP99   = 50 * time.Millisecond
	minEventsRate = 2000
)

// BenchmarkGatewayEvents measures how many events a second one gateway process takes on
// one core (GOMAXPROCS=1), each a POST of its own with a token that is verified, of a
// thousand runs by turns, with PostgreSQL and the clients on the same computer. It is
// compared with as many clients that store one event at a time themselves.
func BenchmarkGatewayEvents(b *testing.B) {
	p := simulate.NewPlatform(b, simulate.Options{})
	cluster := newFakeCluster(b)
	version := p.Agent(b, "bench")
	runs := make([]product.Run, openRuns)
	tokens := make([]string, openRuns)
	for i := range runs {
		runs[i] = begun(b, p, version)
		tokens[i] = cluster.token(b, runs[i])
	}
	url, gateway := startGateway(b, p, cluster)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: eventClients}}
	post := func(i int) {
		request, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url+"/v1/events", strings.NewReader(`{"events":[{"type":"progress","percent":50,"message":"half"}]}`))
		require.NoError(b, err)
		request.Header.Set("Authorization", "Bearer "+tokens[i%openRuns])
		response, err := client.Do(request)
		require.NoError(b, err)
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		require.NoError(b, err)
		require.Equal(b, http.StatusAccepted, response.StatusCode, "%s", body)
	}
	direct := func(i int) {
		errs := p.DB.Runs().TellEvents(b.Context(), []product.Told{{Run: runs[i%openRuns].ID, Attempt: 1, Events: []product.Event{
			{Type: product.EventAgentProgress, At: time.Now(), Message: "half", Data: json.RawMessage(`{"percent":50}`)},
		}}})
		require.NoError(b, errs[0])
	}
	measure(eventClients, openRuns, post) // each run was there once
	measure(eventClients, openRuns, direct)
	var posts, inserts []time.Duration
	var postTime, insertTime time.Duration
	for b.Loop() {
		if len(posts) == 0 {
			postTime, posts = measure(eventClients, eventRound, post)
			insertTime, inserts = measure(eventClients, eventRound/4, direct)
		}
	}
	memory, program := memoryMiB(b, gateway, "VmRSS:"), memoryMiB(b, gateway, "RssFile:")
	rate, p99 := eventRound/postTime.Seconds(), quantile(posts, 0.99)
	alone := float64(eventRound/4) / insertTime.Seconds()
	fmt.Printf("\n| what | a second | p50 | p99 | ratio |\n|---|---|---|---|---|\n")
	fmt.Printf("| event stored by itself | %.0f | %s | %s | 1 |\n", alone, millis(quantile(inserts, 0.5)), millis(quantile(inserts, 0.99)))
	fmt.Printf("| event posted to the gateway | %.0f | %s | %s | %.2f |\n", rate, millis(quantile(posts, 0.5)), millis(p99), rate/alone)
	fmt.Printf("\nthe gateway with %d open runs: %.0f MiB resident, %.0f of them the program itself\n", openRuns, memory, program)
	b.ReportMetric(rate/alone, "ratio-to-insert")
	b.ReportMetric(0, "ns/op")
	if memory-program > maxGatewayMiB { // the pages of the program are those of a file
		b.Errorf("%d open runs take %.0f MiB", openRuns, memory)
	}
	if rate < minEventsRate || p99 > maxEventP99 {
		b.Errorf("%.0f events a second at p99 of %s", rate, p99)
	}
}

// begun is a run whose first attempt goes on.
func begun(b *testing.B, p *simulate.Platform, v product.Version) product.Run {
	b.Helper()
	run := p.Run(b, v, "key_bench")
	_, _, err := p.DB.Runs().CreateRun(b.Context(), run, []byte(`{}`), nil)
	require.NoError(b, err)
	run, err = p.DB.Runs().UpdateRun(b.Context(), run.ID, func(r *product.Run) ([]*product.Event, error) {
		planned := r.Planned(product.Plan{Version: r.Version}, time.Now())
		begin, err := r.BeginAttempt(1, time.Now())
		return []*product.Event{planned, begin}, err
	})
	require.NoError(b, err)
	return run
}

func startGateway(b *testing.B, p *simulate.Platform, c *fakeCluster) (string, *testenv.Process) {
	b.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", testenv.FreePort(b))
	process := p.Start(b, testenv.Program{Name: "gateway", Path: filepath.Join(p.Bin, "agentmarket"), Args: []string{"gateway"}, Env: []string{
		"AGENTMARKET_DATABASE_URL=" + p.Worker.DatabaseURL, "AGENTMARKET_BLOB_URL=" + p.Worker.BlobURL,
		"AGENTMARKET_GATEWAY_LISTEN=" + address, "KUBECONFIG=" + c.kubeconfig(b), "GOMAXPROCS=1", "GOGC=50", // as in deploy/kubernetes/gateway.yaml
		"AGENTMARKET_GATEWAY_CONNECTIONS_PER_ADDRESS=10000", // all runs are of this computer
		"TEMPORAL_ADDRESS=" + p.Worker.Temporal.HostPort, "TEMPORAL_NAMESPACE=" + testenv.TemporalNamespace,
	}})
	url := "http://" + address
	untilReady(b, url, http.StatusNoContent)
	return url, process
}

// memoryMiB is a line of what the kernel says of a process.
func memoryMiB(b *testing.B, p *testenv.Process, name string) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	require.NoError(b, err)
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, name); found {
			var kib float64
			_, err := fmt.Sscan(rest, &kib)
			require.NoError(b, err)
			return kib / 1024
		}
	}
	b.Fatalf("the kernel says nothing of %s", name)
	return 0
}

// fakeCluster is an API server of which a gateway sees what it needs: keys, and the
// metadata of pods.
type fakeCluster struct {
	server *httptest.Server
	signer jose.Signer
	keys   jose.JSONWebKeySet
	pods   metav1.PartialObjectMetadataList
}

const (
	fakeIssuer    = "https://cluster.test"
	fakeNamespace = "agentmarket-runs"
)

func newFakeCluster(b *testing.B) *fakeCluster {
	b.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(b, err)
	key := jose.JSONWebKey{Key: private, KeyID: "bench", Algorithm: string(jose.ES256), Use: "sig"}
	c := &fakeCluster{keys: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}}}
	c.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	require.NoError(b, err)
	c.pods.TypeMeta = metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"}
	c.pods.ResourceVersion = "1"
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Query().Get("sendInitialEvents") != "": // as one that does not know it
			w.WriteHeader(http.StatusUnprocessableEntity)
			_ = json.NewEncoder(w).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity,
			})
		case r.URL.Query().Get("watch") != "": // nothing happens
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case strings.HasSuffix(r.URL.Path, "/pods"):
			_ = json.NewEncoder(w).Encode(c.pods)
		case r.URL.Path == "/openid/v1/jwks":
			_ = json.NewEncoder(w).Encode(c.keys)
		default:
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": fakeIssuer})
		}
	}))
	b.Cleanup(func() { c.server.CloseClientConnections(); c.server.Close() })
	return c
}

// token makes the pod of a run, and its token.
func (c *fakeCluster) token(b *testing.B, run product.Run) string {
	b.Helper()
	name := "pod-" + string(run.ID)[4:]
	c.pods.Items = append(c.pods.Items, metav1.PartialObjectMetadata{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: fakeNamespace, Name: name, UID: types.UID(name), ResourceVersion: "1", Labels: map[string]string{
			"app.kubernetes.io/managed-by": "agentmarket", "agentmarket.dev/run-id": string(run.ID), "agentmarket.dev/attempt": "1",
			"agentmarket.dev/org-id": string(run.OrgID), "agentmarket.dev/tier": "standard",
		}},
	})
	token, err := jwt.Signed(c.signer).Claims(map[string]any{
		"iss": fakeIssuer, "aud": []string{"agentmarket-gateway"}, "exp": time.Now().Add(time.Hour).Unix(),
		"kubernetes.io": map[string]any{"namespace": fakeNamespace, "pod": map[string]any{"name": name, "uid": name}},
	}).Serialize()
	require.NoError(b, err)
	return token
}

func (c *fakeCluster) kubeconfig(b *testing.B) string {
	b.Helper()
	file := filepath.Join(b.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: fake\nclusters: [{name: fake, cluster: {server: %q}}]\n"+
		"contexts: [{name: fake, context: {cluster: fake, user: fake}}]\nusers: [{name: fake, user: {}}]\n", c.server.URL)
	require.NoError(b, os.WriteFile(file, []byte(text), 0o600))
	return file
}
