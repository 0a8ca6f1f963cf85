package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"agentmarket/audit"
	"agentmarket/internal/testenv"
	"agentmarket/marketplace"
	"agentmarket/store"
)

// Stack is one platform: its processes, and the clients of its users.
type Stack struct {
	testenv.Dev
	url       string
	token     string
	org       marketplace.Organization
	Namespace string
	db        *store.DB
	Kube      kubernetes.Interface
	temporal  client.Client

	env            []string // of the platform's programs
	postgres       *testenv.PostgresServer
	database       string
	databaseURL    string
	api, worker    *testenv.Process
	gateway        *testenv.Process
	gatewayAddress string

	temporalFile   string
	temporalPort   int
	temporalServer *testenv.Process
}

// KeepJobs leaves the Jobs of ended runs in the cluster, for tests that look at them.
const KeepJobs = "AGENTMARKET_KEEP_FINISHED_JOBS=true"

// Start starts a platform with the example agents in it. more is added to the
// environment of its programs.
func Start(t testing.TB, more ...string) *Stack {
	t.Helper()
	return startOn(t, testenv.Postgres(t), more...)
}

// startOn is Start on a PostgreSQL server.
func startOn(t testing.TB, server *testenv.PostgresServer, more ...string) *Stack {
	t.Helper()
	s := &Stack{Dev: testenv.NewDev(t), postgres: server, temporalFile: filepath.Join(t.TempDir(), "temporal.db"), temporalPort: testenv.FreePort(t)}
	s.Namespace = "e2e-" + strings.ToLower(strings.NewReplacer("_", "-", "/", "-").Replace(t.Name()))
	s.connectCluster(t)
	s.startTemporal(t)
	address := fmt.Sprintf("127.0.0.1:%d", s.temporalPort)
	s.openDatabase(t)

	port := testenv.FreePort(t)
	s.url = fmt.Sprintf("http://127.0.0.1:%d", port)
	blobs := t.TempDir()
	s.gatewayAddress = s.GatewayAddress(t)
	s.env = []string{
		"AGENTMARKET_DATABASE_URL=" + s.databaseURL,
		"AGENTMARKET_BLOB_URL=file://" + blobs + "?no_tmp_dir=true",
		"AGENTMARKET_LISTEN=127.0.0.1:" + fmt.Sprint(port),
		"AGENTMARKET_RUNTIME_IMAGE=" + s.Images["agent-runtime"],
		"AGENTMARKET_RUNS_NAMESPACE=" + s.Namespace,
		"AGENTMARKET_MANAGE_NAMESPACE=true",
		"AGENTMARKET_GATEWAY_LISTEN=" + s.gatewayAddress,
		"AGENTMARKET_GATEWAY_URL=http://" + s.gatewayAddress,
		"AGENTMARKET_DOCTOR=request", // it would take its time beside every test
		"AGENTMARKET_SMOKE_AGENT=examples/hello",
		"AGENTMARKET_PRELOADED_IMAGES=agentmarket.local",
		"KUBECONFIG=" + s.Kubeconfig,
		"TEMPORAL_ADDRESS=" + address, "TEMPORAL_NAMESPACE=" + testenv.TemporalNamespace,
	}
	s.env = append(s.env, more...)
	var err error
	s.temporal, err = client.Dial(client.Options{HostPort: address, Namespace: testenv.TemporalNamespace, Logger: quiet{}})
	require.NoError(t, err)
	t.Cleanup(s.temporal.Close)

	s.program(t, "migrate").Wait(t)
	s.startAPI(t)
	s.startWorker(t)
	s.startGateway(t)
	for _, agent := range []string{"hello", "summarize", "wordcount"} {
		s.registerExample(t, agent)
	}
	return s
}

// untilNamespace waits until the worker has made the namespace of runs. Its limits are
// the last thing in it.
func (s *Stack) untilNamespace(t testing.TB) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := s.Kube.CoreV1().LimitRanges(s.Namespace).Get(t.Context(), "runs", metav1.GetOptions{})
		return err == nil
	}, time.Minute, 50*time.Millisecond, "the namespace of runs is there")
}

// startTemporal starts Temporal, again on the same file and port after a Kill.
func (s *Stack) startTemporal(t testing.TB) {
	t.Helper()
	s.temporalServer = s.StartTemporal(t, s.temporalFile, s.temporalPort)
}

// deletePods deletes the pods of a run as somebody else would.
func (s *Stack) deletePods(t testing.TB, run string) {
	t.Helper()
	pods := s.pods(t, run)
	require.Len(t, pods, 1)
	require.NoError(t, s.deletePod(t, pods[0].Name))
}

func (s *Stack) deletePod(t testing.TB, name string) error {
	t.Helper()
	return s.Kube.CoreV1().Pods(s.Namespace).Delete(t.Context(), name, metav1.DeleteOptions{})
}

// program starts a command of the platform.
func (s *Stack) program(t testing.TB, command string) *testenv.Process {
	t.Helper()
	return s.Start(t, testenv.Program{
		Name: command, Path: filepath.Join(s.Bin, "agentmarket"), Args: []string{command}, Env: s.env,
	})
}

// startAPI starts the API and waits until it is ready.
func (s *Stack) startAPI(t testing.TB) {
	t.Helper()
	s.api = s.program(t, "api")
	require.Eventually(t, func() bool { return s.get(t, "/readyz", nil) == http.StatusOK }, 30*time.Second, 50*time.Millisecond, "the platform is ready")
}

func (s *Stack) startWorker(t testing.TB) {
	t.Helper()
	s.worker = s.program(t, "worker")
}

func (s *Stack) connectCluster(t testing.TB) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	require.NoError(t, err)
	config.QPS, config.Burst = 100, 200
	s.Kube, err = kubernetes.NewForConfig(config)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = s.Kube.CoreV1().Namespaces().Delete(ctx, s.Namespace, metav1.DeleteOptions{})
	})
}

// openDatabase makes a database with an organization and its key in it.
func (s *Stack) openDatabase(t testing.TB) {
	t.Helper()
	var err error
	s.database, err = s.postgres.CreateDatabase(t.Context(), "")
	require.NoError(t, err)
	s.databaseURL = s.postgres.URL(s.database)
	s.db, err = store.Open(t.Context(), store.Config{URL: s.databaseURL, MaxConns: 4})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.db.Close() })
	require.NoError(t, s.db.Migrate(t.Context()))
	s.org, s.token = s.organization(t, "examples")
}

func (s *Stack) organization(t testing.TB, name string) (marketplace.Organization, string) {
	t.Helper()
	org, err := marketplace.NewOrganization(name, time.Now())
	require.NoError(t, err)
	require.NoError(t, s.db.Marketplace().CreateOrganization(t.Context(), setUp, org))
	return org, s.key(t, org, marketplace.RoleOwner, marketplace.AllScopes())
}

// setUp is who made what was there before the test.
var setUp = audit.System("e2e")

func (s *Stack) key(t testing.TB, org marketplace.Organization, role marketplace.Role, scopes []marketplace.Scope) string {
	t.Helper()
	key, token := marketplace.NewAPIKey(org.ID, "e2e", role, scopes, time.Now())
	require.NoError(t, s.db.Marketplace().CreateAPIKey(t.Context(), setUp, key))
	return token.Reveal()
}

// as is the stack as another organization sees it.
func (s *Stack) as(token string) *Stack {
	other := *s
	other.token = token
	return &other
}

// registerExample publishes one of examples/agents.
func (s *Stack) registerExample(t testing.TB, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "examples", "agents", name, "agent.yaml"))
	require.NoError(t, err)
	manifest, err := yaml.YAMLToJSON(text)
	require.NoError(t, err)
	s.register(t, manifest, s.Images[name])
}

func (s *Stack) register(t testing.TB, manifest []byte, image string) {
	t.Helper()
	status, body := s.Call(t, http.MethodPost, "/v1/agents", nil, map[string]any{"manifest": json.RawMessage(manifest), "image": image})
	require.Equal(t, http.StatusCreated, status, "%s", body)
}

// registerShell publishes an agent that is a shell script on busybox, for
// provoking one behaviour.
func (s *Stack) registerShell(t testing.TB, name, script string, more map[string]any) {
	t.Helper()
	manifest := map[string]any{
		"api_version": "agentmarket/v1", "name": name, "version": "1.0.0", "command": []string{"/bin/sh", "-c", script},
		"resources": map[string]any{"cpu_millis": 100, "memory_mib": 32, "disk_mib": 16},
		"timeouts":  map[string]any{"run_seconds": 60, "grace_seconds": 1},
	}
	for k, v := range more {
		manifest[k] = v
	}
	text, err := json.Marshal(manifest)
	require.NoError(t, err)
	s.register(t, text, s.Images["wordcount"])
}

// runView is what the tests read of a run.
type runView struct {
	ID      string `json:"id"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Cause   string `json:"cause"`
	Message string `json:"message"`
	Cost    *struct {
		Micros int64 `json:"amount_micros"`
	} `json:"cost"`
	Output json.RawMessage `json:"output"`
	Queued *struct {
		Position int `json:"position"`
	} `json:"queued"`
	Attempts []struct {
		Number    int        `json:"number"`
		Reason    string     `json:"reason"`
		Message   string     `json:"message"`
		StartedAt *time.Time `json:"started_at"`
	} `json:"attempts"`
	Cancel *struct {
		RequestedBy  string     `json:"requested_by"`
		Reason       string     `json:"reason"`
		SignaledAt   time.Time  `json:"signaled_at"`
		TerminatedAt *time.Time `json:"terminated_at"`
		GoneAt       *time.Time `json:"gone_at"`
		ExitCode     *int       `json:"exit_code"`
	} `json:"cancel"`
}

func (r runView) ended() bool {
	switch r.Status {
	case "queued", "waiting_approval", "starting", "running", "canceling":
		return false
	}
	return true
}

// Call makes a request of the organization "examples" and returns status and
// body.
func (s *Stack) Call(t testing.TB, method, path string, header map[string]string, body any) (int, []byte) {
	t.Helper()
	status, text, err := s.send(t, method, path, header, body)
	require.NoError(t, err)
	return status, text
}

// send is Call, with an error where nobody answers.
func (s *Stack) send(t testing.TB, method, path string, header map[string]string, body any) (int, []byte, error) {
	t.Helper()
	var reader io.Reader
	if body != nil {
		text, ok := body.([]byte)
		if !ok {
			var err error
			text, err = json.Marshal(body)
			require.NoError(t, err)
		}
		reader = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, s.url+path, reader)
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+s.token)
	for k, v := range header {
		request.Header.Set(k, v)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, text, err
}

// get reads JSON and returns the status, 0 while nobody answers.
func (s *Stack) get(t testing.TB, path string, into any) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+s.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	if into != nil && response.StatusCode == http.StatusOK {
		require.NoError(t, json.NewDecoder(response.Body).Decode(into))
	}
	return response.StatusCode
}

// startRun starts a run and returns at once.
func (s *Stack) startRun(t testing.TB, agent string, input any) runView {
	t.Helper()
	status, body := s.Call(t, http.MethodPost, "/v1/agents/examples/"+agent+"/runs", nil, map[string]any{"input": input})
	require.Equal(t, http.StatusAccepted, status, "%s", body)
	var run runView
	require.NoError(t, json.Unmarshal(body, &run))
	return run
}

func (s *Stack) run(t testing.TB, id string) runView {
	t.Helper()
	var run runView
	require.Equal(t, http.StatusOK, s.get(t, "/v1/runs/"+id, &run))
	return run
}

// until waits until a run is as wanted.
func (s *Stack) until(t testing.TB, id string, patience time.Duration, why string, wanted func(runView) bool) runView {
	t.Helper()
	var run runView
	require.Eventually(t, func() bool {
		var now runView
		switch status := s.get(t, "/v1/runs/"+id, &now); status {
		case 0, http.StatusTooManyRequests: // all that look at runs here have one key
			return false
		default:
			require.Equal(t, http.StatusOK, status)
		}
		run = now
		return wanted(run)
	}, patience, 50*time.Millisecond, "%s; the run: %+v", why, &run)
	return run
}

func (s *Stack) untilEnded(t testing.TB, id string, patience time.Duration) runView {
	t.Helper()
	return s.until(t, id, patience, "the run ends", runView.ended)
}

func (s *Stack) untilRunning(t testing.TB, id string) {
	t.Helper()
	s.until(t, id, time.Minute, "the run runs", func(r runView) bool { return r.Status == "running" })
}

func (s *Stack) jobs(t testing.TB, run string) []batchv1.Job {
	t.Helper()
	list, err := s.Kube.BatchV1().Jobs(s.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "agentmarket.dev/run-id=" + run})
	require.NoError(t, err)
	return list.Items
}

func (s *Stack) pods(t testing.TB, run string) []corev1.Pod {
	t.Helper()
	list, err := s.Kube.CoreV1().Pods(s.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "agentmarket.dev/run-id=" + run})
	require.NoError(t, err)
	return list.Items
}

// quiet is a Temporal logger that says nothing.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}
