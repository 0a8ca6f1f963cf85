package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enums "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"agentmarket/agentruntime"
	"agentmarket/internal/testenv"
)

// TestRuns shares one platform between the stories of ordinary runs.
func TestRuns(t *testing.T) {
	beside(t)
	s := Start(t, KeepJobs)
	for name, story := range map[string]func(*testing.T, *Stack){
		"schedule-job runs hello":                scheduleJob,
		"summarize reads a real document":        summarize,
		"an image of shell and busybox":          wordcount,
		"fifty starts with ten keys":             fiftyStarts,
		"a result that is larger than the pod":   largeResult,
		"every end has its reason":               everyEnd,
		"bad input leaves nothing":               badInput,
		"logs while it runs and after":           logs,
		"a pod that somebody deletes":            podGone,
		"runs of other organizations are hidden": hidden,
	} {
		t.Run(name, func(t *testing.T) { story(t, s) })
	}
}

func scheduleJob(t *testing.T, s *Stack) {
	status, body := s.Call(t, http.MethodPost, "/schedule-job", nil, map[string]string{"prompt": "hello world"})
	require.Equal(t, http.StatusAccepted, status, "%s", body)
	var scheduled struct {
		RunID     string `json:"run_id"`
		JobName   string `json:"job_name"`
		Namespace string `json:"namespace"`
		Status    string `json:"status"`
	}
	require.NoError(t, json.Unmarshal(body, &scheduled))
	require.Equal(t, s.Namespace, scheduled.Namespace)

	run := s.untilEnded(t, scheduled.RunID, time.Minute)
	require.Equal(t, "succeeded", run.Status, run.Message)
	require.Contains(t, string(run.Output), "hello world")

	jobs := s.jobs(t, run.ID)
	require.Len(t, jobs, 1)
	require.Equal(t, scheduled.JobName, jobs[0].Name)

	workflow, err := s.temporal.DescribeWorkflowExecution(t.Context(), run.ID, "")
	require.NoError(t, err)
	require.Equal(t, enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, workflow.GetWorkflowExecutionInfo().GetStatus())
	require.Contains(t, fmt.Sprint(workflow.GetWorkflowExecutionInfo().GetSearchAttributes()), "RunStatus")

	// What kubectl logs shows is what the API shows.
	pods := s.pods(t, run.ID)
	require.Len(t, pods, 1)
	stream, err := s.Kube.CoreV1().Pods(s.Namespace).GetLogs(pods[0].Name, &corev1.PodLogOptions{}).Stream(t.Context())
	require.NoError(t, err)
	defer stream.Close()
	kubectl, err := io.ReadAll(stream)
	require.NoError(t, err)
	code, api := s.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/logs", nil, nil)
	require.Equal(t, http.StatusOK, code)
	first, rest, _ := strings.Cut(string(kubectl), "\n")
	require.Equal(t, agentruntime.LogStart, first, "which is for the platform")
	rest, ended := strings.CutSuffix(rest, agentruntime.LogEnd+"\n")
	require.True(t, ended, "which is for the platform, too")
	require.Equal(t, rest, string(api))
	require.NotEmpty(t, api)
}

func summarize(t *testing.T, s *Stack) {
	text, err := os.ReadFile("../examples/agents/summarize/testdata/federalist-10.txt")
	require.NoError(t, err)
	status, body := s.Call(t, http.MethodPost, "/v1/agents/examples/summarize/runs",
		map[string]string{"Prefer": "wait=60"}, map[string]any{"input": map[string]any{"text": string(text), "sentences": 3}})
	require.Equal(t, http.StatusCreated, status, "%s", body)
	var run runView
	require.NoError(t, json.Unmarshal(body, &run))
	require.Equal(t, "succeeded", run.Status, run.Message)
	var out struct {
		Summary []string `json:"summary"`
	}
	require.NoError(t, json.Unmarshal(run.Output, &out))
	require.Len(t, out.Summary, 3)
	for _, sentence := range out.Summary {
		require.Contains(t, strings.Join(strings.Fields(string(text)), " "), strings.Join(strings.Fields(sentence), " "), "a sentence of the document itself")
	}
	code, plan := s.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/plan", nil, nil)
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, string(plan), s.Images["summarize"])
}

func wordcount(t *testing.T, s *Stack) {
	run := s.startRun(t, "wordcount", map[string]string{"text": "To be, or not to be:\nthat is the question.\n"})
	run = s.untilEnded(t, run.ID, time.Minute)
	require.Equal(t, "succeeded", run.Status, run.Message)
	require.JSONEq(t, `{"counted":"text","lines":2,"words":10,"bytes":43}`, string(run.Output))
}

func fiftyStarts(t *testing.T, s *Stack) {
	var mu sync.Mutex
	runs := map[string]map[string]bool{} // run identifiers by key
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			key := fmt.Sprintf("key-%d", i%10)
			status, body := s.Call(t, http.MethodPost, "/v1/agents/examples/hello/runs",
				map[string]string{"Idempotency-Key": key}, map[string]any{"input": map[string]string{"prompt": key}})
			var run runView
			if status != http.StatusAccepted || json.Unmarshal(body, &run) != nil {
				t.Errorf("start with %s: %d %s", key, status, body)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if runs[key] == nil {
				runs[key] = map[string]bool{}
			}
			runs[key][run.ID] = true
		})
	}
	group.Wait()
	require.Len(t, runs, 10)
	for key, ids := range runs {
		require.Len(t, ids, 1, key)
		for id := range ids {
			run := s.untilEnded(t, id, 2*time.Minute)
			require.Equal(t, "succeeded", run.Status, run.Message)
			require.Contains(t, string(run.Output), key)
			require.Len(t, s.jobs(t, id), 1)
			history, err := s.temporal.WorkflowService().ListWorkflowExecutions(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{
				Namespace: testenv.TemporalNamespace, Query: "WorkflowId = '" + id + "'",
			})
			require.NoError(t, err)
			require.Len(t, history.GetExecutions(), 1)
		}
	}
}

func largeResult(t *testing.T, s *Stack) {
	s.registerShell(t, "large", `awk 'BEGIN { printf "\""; for (i = 0; i < 20000; i++) printf "0123456789"; print "\"" }'`, nil)
	run := s.startRun(t, "large", nil)
	run = s.untilEnded(t, run.ID, time.Minute)
	require.Equal(t, "succeeded", run.Status, run.Message)
	status, body := s.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/output", nil, nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, `"`+strings.Repeat("0123456789", 20000)+`"`, string(body))
}

func everyEnd(t *testing.T, s *Stack) {
	missing := strings.Replace(s.Images["wordcount"], "wordcount@", "missing@", 1)
	for _, row := range []struct {
		agent, script string
		more          map[string]any
		image         string
		status        string
		reason        string
	}{
		{agent: "ok", script: `echo '{"a":1}'`, status: "succeeded", reason: "ok"},
		{agent: "exit-three", script: `echo sorry >&2; exit 3`, status: "failed", reason: "agent_error"},
		{agent: "silent", script: `true`, status: "failed", reason: "agent_no_result"},
		{agent: "not-json", script: `echo hello`, status: "failed", reason: "agent_invalid_result"},
		{agent: "breaks-schema", script: `echo '"text"'`, more: map[string]any{"output_schema": map[string]any{"type": "number"}}, status: "failed", reason: "agent_invalid_result"},
		{agent: "eats-memory", script: `tail /dev/zero`, status: "failed", reason: "agent_oom"},
		{agent: "never-ends", script: `sleep 600`, more: map[string]any{"timeouts": map[string]any{"run_seconds": 2, "grace_seconds": 1}}, status: "timed_out", reason: "deadline_exceeded"},
		{agent: "no-command", more: map[string]any{"command": []string{"/nowhere"}}, status: "failed", reason: "config_error"},
		{agent: "no-image", script: `true`, image: missing, more: map[string]any{"timeouts": map[string]any{"start_seconds": 10}}, status: "failed", reason: "image_pull"},
	} {
		t.Run(row.reason+" by "+row.agent, func(t *testing.T) {
			t.Parallel()
			r := *s
			if row.image != "" {
				r.Images = map[string]string{"wordcount": row.image}
			}
			r.registerShell(t, row.agent, row.script, row.more)
			run := r.startRun(t, row.agent, map[string]any{})
			run = r.untilEnded(t, run.ID, 2*time.Minute)
			require.Equal(t, row.status, run.Status, run.Message)
			require.Equal(t, row.reason, run.Reason, run.Message)
			if row.reason != "ok" {
				require.NotEmpty(t, run.Message)
			}
			if row.reason == "image_pull" {
				require.Empty(t, r.jobs(t, run.ID), "a pod that never starts is not left behind")
			}
		})
	}
}

func podGone(t *testing.T, s *Stack) {
	run := s.startRun(t, "hello", map[string]any{"prompt": "x", "sleep_seconds": 5})
	s.untilRunning(t, run.ID)
	s.deletePods(t, run.ID)
	run = s.untilEnded(t, run.ID, 2*time.Minute)
	require.Equal(t, "succeeded", run.Status, "somebody else's deletion is the platform's problem: a second attempt: %s", run.Message)
	require.Len(t, run.Attempts, 2)
	require.Equal(t, "pod_gone", run.Attempts[0].Reason)
}

func badInput(t *testing.T, s *Stack) {
	before := s.settledCount(t)
	good := map[string]any{"input": map[string]any{"prompt": "x"}}
	for name, tc := range map[string]struct {
		method, path string
		header       map[string]string
		body         any
		status       int
		code         string
	}{
		"unknown agent":    {http.MethodPost, "/v1/agents/examples/nobody/runs", nil, good, 404, "agent_not_found"},
		"unknown field":    {http.MethodPost, "/v1/agents/examples/hello/runs", nil, map[string]any{"input": map[string]any{"prompt": "x"}, "color": "red"}, 422, ""},
		"against schema":   {http.MethodPost, "/v1/agents/examples/hello/runs", nil, map[string]any{"input": map[string]any{"prompt": 7}}, 422, "input_invalid"},
		"5 MiB body":       {http.MethodPost, "/v1/agents/examples/hello/runs", nil, map[string]any{"input": map[string]any{"prompt": strings.Repeat("x", 5<<20)}}, 413, ""},
		"malformed JSON":   {http.MethodPost, "/v1/agents/examples/hello/runs", nil, []byte(`{"input":`), 400, "malformed_json"},
		"wrong method":     {http.MethodDelete, "/v1/agents/examples/hello/runs", nil, nil, 405, ""},
		"no key":           {http.MethodPost, "/v1/agents/examples/hello/runs", map[string]string{"Authorization": ""}, good, 401, ""},
		"wrong media type": {http.MethodPost, "/v1/agents/examples/hello/runs", map[string]string{"Content-Type": "text/plain"}, good, 415, ""},
		"foreign run":      {http.MethodGet, "/v1/runs/run_01jd3m0f9zq4x8v5c7n2b6k1ta", nil, nil, 404, "run_not_found"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := s.Call(t, tc.method, tc.path, tc.header, tc.body)
			require.Equal(t, tc.status, status, "%s", body)
			var problem struct {
				Type, Title, Detail, Code string
				Status                    int
				RequestID                 string `json:"request_id"`
			}
			require.NoError(t, json.Unmarshal(body, &problem), "%s", body)
			require.Equal(t, tc.status, problem.Status)
			require.NotEmpty(t, problem.RequestID)
			require.NotEmpty(t, problem.Code)
			if tc.code != "" {
				require.Equal(t, tc.code, problem.Code)
			}
		})
	}
	require.Equal(t, before, s.settledCount(t), "no run, workflow or Job came of it")
}

// settledCount counts when every run has its workflow in Temporal's index, which
// follows a little later.
func (s *Stack) settledCount(t *testing.T) counts {
	t.Helper()
	var c counts
	require.Eventually(t, func() bool {
		c = s.count(t)
		return c.workflows == c.runs
	}, 30*time.Second, 200*time.Millisecond, "every run has one workflow")
	return c
}

// counts is how many things there are of each kind.
type counts struct{ runs, workflows, jobs int }

func (s *Stack) count(t *testing.T) counts {
	t.Helper()
	var page struct {
		Items []runView `json:"items"`
	}
	require.Equal(t, http.StatusOK, s.get(t, "/v1/runs?limit=200", &page))
	workflows, err := s.temporal.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{
		Namespace: testenv.TemporalNamespace, Query: "WorkflowType = 'AgentRun'",
	})
	require.NoError(t, err)
	jobs, err := s.Kube.BatchV1().Jobs(s.Namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	return counts{len(page.Items), int(workflows.GetCount()), len(jobs.Items)}
}

func logs(t *testing.T, s *Stack) {
	s.registerShell(t, "talks", `for i in 1 2 3 4 5; do echo "line $i"; sleep 0.3; done; echo '{"said":5}'`, nil)
	run := s.startRun(t, "talks", map[string]any{})
	const want = "line 1\nline 2\nline 3\nline 4\nline 5\n{\"said\":5}\n"
	status, followed := s.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/logs?follow=true", nil, nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, want, string(followed))
	require.Equal(t, "succeeded", s.untilEnded(t, run.ID, time.Minute).Status)

	// After the pod is gone, the archive answers.
	for _, job := range s.jobs(t, run.ID) {
		require.NoError(t, s.Kube.BatchV1().Jobs(s.Namespace).Delete(t.Context(), job.Name,
			metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationForeground)}))
	}
	require.Eventually(t, func() bool { return len(s.pods(t, run.ID)) == 0 }, time.Minute, 100*time.Millisecond, "the pod is gone")
	status, archived := s.Call(t, http.MethodGet, "/v1/runs/"+run.ID+"/logs", nil, nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, want, string(archived))
}

func hidden(t *testing.T, s *Stack) {
	run := s.startRun(t, "hello", map[string]string{"prompt": "mine"})
	other := *s
	_, other.token = s.organization(t, "strangers")
	for _, path := range []string{"", "/logs", "/output", "/plan", "/events"} {
		require.Equal(t, http.StatusNotFound, other.get(t, "/v1/runs/"+run.ID+path, nil), path)
	}
	status, _ := other.Call(t, http.MethodPost, "/v1/runs/"+run.ID+"/cancel", nil, map[string]string{})
	require.Equal(t, http.StatusNotFound, status)
	require.Equal(t, http.StatusNotFound, other.get(t, "/v1/agents/examples/hello", nil))
	require.Equal(t, "succeeded", s.untilEnded(t, run.ID, time.Minute).Status)
}

// TestRuntimeByCopy: the way for nodes that cannot mount images.
func TestRuntimeByCopy(t *testing.T) {
	beside(t)
	s := Start(t, "AGENTMARKET_RUNTIME_BY_COPY=true", KeepJobs)
	run := s.startRun(t, "hello", map[string]string{"prompt": "copied"})
	run = s.untilEnded(t, run.ID, time.Minute)
	require.Equal(t, "succeeded", run.Status, run.Message)
	pods := s.pods(t, run.ID)
	require.Len(t, pods, 1)
	require.Len(t, pods[0].Spec.InitContainers, 1)
}
