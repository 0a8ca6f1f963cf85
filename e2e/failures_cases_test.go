package e2e

import (
	"strings"
	"testing"
	"time"
)

const (
	// waits is an agent that does nothing until it is told to stop.
	waits = `sleep 600`
	// waitsOnce is one whose second attempt succeeds.
	waitsOnce = `[ "$AGENT_ATTEMPT" -gt 1 ] || sleep 600; ` + succeeds

	// noSandbox is the agent for which the buyer asks for the sandboxed tier.
	noSandbox = "no-sandbox"
	// awayRegistry is where no registry answers.
	awayRegistry = "away.invalid"
	// platformTries is how often the platform tries what it has to answer for.
	platformTries = 3
	// patience with a node of two cores that others use, too.
	patience = 5 * time.Minute
)

func timeouts(start, run int) map[string]any {
	return map[string]any{"timeouts": map[string]any{"start_seconds": start, "run_seconds": run, "grace_seconds": 1}}
}

// provoked are the failures that need nothing for themselves. The rows of the
// documentation are in this order.
func provoked(image string) []*failure {
	_, digest, _ := strings.Cut(image, "@")
	missing := strings.Replace(image, "wordcount@", "missing@", 1)
	return append([]*failure{
		{does: "nothing: the agent prints a result and exits with 0", agent: "works",
			script: succeeds, reason: "ok", tries: 1, charged: true},
		{does: "the agent exits with 3", agent: "exits",
			script: fails, reason: "agent_error", tries: 1, charged: true},
		{does: "the same, at a price that does not charge failed runs", agent: "exits-free",
			script: fails, price: map[string]any{"model": "per_run", "per_run_micros": 100_000}, known: true, reason: "agent_error", tries: 1},
		{does: "the same, and the caller asks for two attempts, which the manifest allows", agent: "exits-twice",
			script: fails, more: map[string]any{"retry": map[string]any{"max_attempts": 2}},
			start: map[string]any{"retry": map[string]any{"max_attempts": 2}}, known: true, reason: "agent_error", tries: 2, charged: true},
		{does: "the agent dies of a signal", agent: "crashes",
			script: `kill -SEGV $$`, reason: "agent_error", tries: 1, charged: true},
		{does: "the agent tells its own container to stop", agent: "stops-itself",
			script: `kill -TERM 1; sleep 30`, reason: "agent_error", tries: 1, charged: true},
		{does: "the agent exits with 0 and without a result", agent: "silent",
			script: `true`, reason: "agent_no_result", tries: 1, charged: true},
		{does: "the result is not JSON", agent: "not-json",
			script: `echo hello`, reason: "agent_invalid_result", tries: 1, charged: true},
		{does: "the result does not match the output schema", agent: "breaks-schema",
			script: `echo '"text"'`, more: map[string]any{"output_schema": map[string]any{"type": "number"}},
			reason: "agent_invalid_result", known: true, tries: 1, charged: true},
		{does: "the agent uses more memory than it asked for", agent: "eats-memory",
			script: `tail /dev/zero`, reason: "agent_oom", tries: 1, charged: true,
			message: "the agent was killed at its memory limit", sometimes: "the agent used more memory than its limit"},
		{does: "the agent writes more than its disk", agent: "fills-disk",
			script: `dd if=/dev/zero of=big bs=1M count=64; sleep 600`, more: timeouts(120, 180),
			slow: true, reason: "agent_disk", tries: 1, charged: true},
		{does: "the agent runs into its deadline", agent: "never-ends",
			script: waits, more: timeouts(120, 2), reason: "deadline_exceeded", tries: 1, charged: true},
		{does: "the caller cancels the run", agent: "canceled",
			script: waits, meanwhile: cancels, reason: "canceled", known: true, tries: 1, charged: true},
		{does: "the run uses up the `max_cost` of the caller", agent: "expensive",
			script: waits, price: map[string]any{"model": "per_second", "per_second_micros": 10_000, "failed_runs": "charged"},
			start:  map[string]any{"max_cost": usd(20_000)},
			reason: "budget_exhausted", known: true, tries: 1, charged: true},
		{does: "the command of the manifest is not in the image", agent: "no-command",
			more: map[string]any{"command": []string{"/nowhere"}}, reason: "config_error", tries: 1},
		{does: "the name of the image is one that no registry can have", agent: "no-name",
			script: succeeds, image: "agentmarket.local/no..name@" + digest, reason: "image_invalid", tries: 1},
		{does: "the registry does not have the image", agent: "no-image",
			script: succeeds, image: missing, more: timeouts(90, 60), reason: "image_pull", tries: 1},
	}, platformFailures(digest)...)
}

// platformFailures are those that the platform has to answer for.
func platformFailures(digest string) []*failure {
	return []*failure{
		{does: "the registry does not answer", agent: "no-registry",
			script: succeeds, image: awayRegistry + "/agents/away@" + digest, more: timeouts(90, 60),
			reason: "image_unavailable", tries: platformTries},
		{does: "an admission rule of the cluster refuses the pod", agent: "refused",
			script: succeeds, more: map[string]any{
				"resources": map[string]any{"cpu_millis": 2500, "memory_mib": 32, "disk_mib": 16}, "timeouts": timeouts(20, 60)["timeouts"],
			}, reason: "job_refused", tries: 1},
		{does: "the node cannot make the sandbox: it has no such runtime", agent: noSandbox,
			script: succeeds, more: timeouts(30, 60), reason: "sandbox_error", tries: platformTries},
		{does: "the supervisor is killed, in each attempt", agent: "no-supervisor",
			script: waits, meanwhile: eachAttempt(killSupervisor), reason: "platform_error", tries: platformTries},
		{does: "somebody deletes the pod, of each attempt", agent: "deleted",
			script: waits, meanwhile: eachAttempt(deletePod), reason: "pod_gone", tries: platformTries},
		{does: "the node is drained, in each attempt", agent: "drained",
			script: waits, meanwhile: eachAttempt(evict), reason: "evicted", tries: platformTries},
	}
}

// quotaFull: the namespace has no room at first.
func quotaFull() *failure {
	return &failure{does: "the quota of the namespace is used up, for one attempt", agent: "no-quota",
		script: succeeds, more: timeouts(20, 60), reason: "quota_exceeded", tries: 2, recovers: true, charged: true}
}

// nodeTaken: the node gets a taint that the pod does not tolerate, and loses it again.
func nodeTaken() *failure {
	return &failure{does: "the node gets a `NoExecute` taint, and is there again for the next attempt", agent: "node-taken",
		script: waitsOnce, reason: "node_lost", tries: 2, recovers: true, charged: true}
}

// nodeNone: no node takes the pod.
func nodeNone() *failure {
	return &failure{does: "no node takes the pod", agent: "no-node",
		script: succeeds, more: timeouts(5, 60), reason: "unschedulable", tries: platformTries}
}

func cancels(t *testing.T, m market, run runView) {
	m.buyer.until(t, run.ID, patience, "the run runs", func(r runView) bool { return r.Status == "running" })
	m.buyer.must(t, "POST", "/v1/runs/"+run.ID+"/cancel", map[string]any{"reason": "not needed any more"}, nil)
}
