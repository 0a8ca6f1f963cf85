package workflows

import (
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"agentmarket/product"
)

// firstShown is what the search attribute says from the start of the workflow: it
// becomes another only where the run has to wait, for most do not.
const firstShown = product.StatusStarting

// show makes the state of the run visible to operators: the search attribute
// for lists, the current details for the one run.
func (r *agentRun) show(ctx workflow.Context, status product.Status, format string, args ...any) {
	if status != r.shown {
		r.shown = status
		if err := workflow.UpsertTypedSearchAttributes(ctx, RunStatusKey.ValueSet(string(status))); err != nil {
			r.log.Warn("search attribute not written", "error", err)
		}
	}
	r.describe(ctx, fmt.Sprintf(format, args...))
}

func (r *agentRun) describe(ctx workflow.Context, text string) {
	workflow.SetCurrentDetails(ctx, fmt.Sprintf("**%s** version %s\n\n%s", r.in.Agent, r.plan.Version, text))
}

// ShowRun is what operators see of a run's workflow from its start: a summary and
// details in Markdown, and search attributes.
func ShowRun(in AgentRunInput, version string) (summary, details string, attributes temporal.SearchAttributes) {
	summary = in.Agent + " " + version
	details = "Run `" + string(in.RunID) + "` of **" + in.Agent + "** version " + version + ".\n\n" +
		"Jobs and pods: `kubectl get jobs,pods -A -l agentmarket.dev/run-id=" + string(in.RunID) + "`"
	return summary, details, temporal.NewSearchAttributes(
		OrgIDKey.ValueSet(string(in.OrgID)),
		AgentIDKey.ValueSet(string(in.AgentID)),
		RunStatusKey.ValueSet(string(firstShown)),
	)
}
