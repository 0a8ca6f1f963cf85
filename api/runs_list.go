package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/marketplace"
	"agentmarket/product"
)

func (a *app) routeRunLists() {
	handle(a, route{
		id: "list-runs", method: http.MethodGet, path: "/v1/runs", tag: tagRuns, action: marketplace.ActRunsRead,
		summary: "List the runs of your organization, newest first", problems: []string{"cursor_invalid"}, anyQuery: true,
		parameters: []*huma.Param{{
			Name: "label.{key}", In: "query", Description: "Only runs with this value of a label; may be used for several labels.",
			Schema: &huma.Schema{Type: huma.TypeString}, Example: "nightly",
		}},
	}, a.listRuns)
	handle(a, route{
		id: "list-children", method: http.MethodGet, path: "/v1/runs/{id}/children", tag: tagRuns, action: marketplace.ActRunsRead,
		summary: "List the runs that a run has started, oldest first", problems: []string{"run_not_found", "cursor_invalid"},
	}, a.listChildren)
}

type listRunsInput struct {
	Status        []string `query:"status,explode" doc:"Only runs in this state; may be repeated. Those that are waiting_input are among those that run." maxItems:"20"`
	Agent         string   `query:"agent" maxLength:"100" doc:"Only runs of this agent, publisher/name."`
	CreatedAfter  string   `query:"created_after" format:"date-time" doc:"Only runs that were created after this time."`
	CreatedBefore string   `query:"created_before" format:"date-time" doc:"Only runs that were created before this time."`
	Schedule      string   `query:"schedule" maxLength:"40" doc:"Only runs that this schedule has made."`
	Limit         int      `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Cursor        string   `query:"cursor" maxLength:"200"`

	labels map[string]string
}

const labelParameter = "label."

// Resolve implements huma.Resolver: it collects the filters whose names only the
// caller knows, and refuses what is no filter at all. A misspelt one would
// quietly select everything.
func (in *listRunsInput) Resolve(ctx huma.Context) []error {
	address := ctx.URL()
	var wrong []error
	for name, values := range address.Query() {
		key, isLabel := strings.CutPrefix(name, labelParameter)
		switch {
		case isLabel && labelKey.MatchString(key) && len(values) == 1 && len(values[0]) <= maxLabelValue:
			if in.labels == nil {
				in.labels = map[string]string{}
			}
			in.labels[key] = values[0]
		case isLabel:
			wrong = append(wrong, &huma.ErrorDetail{Location: "query." + name, Message: "is not one label with one value"})
		case !slices.Contains([]string{"status", "agent", "created_after", "created_before", "schedule", "limit", "cursor"}, name):
			wrong = append(wrong, &huma.ErrorDetail{Location: "query." + name, Message: "unknown query parameter"})
		}
	}
	for _, status := range in.Status {
		if !slices.Contains(product.Statuses(), product.Status(status)) && product.Status(status) != product.StatusWaitingInput {
			wrong = append(wrong, &huma.ErrorDetail{Location: "query.status", Message: "is not a state of a run"})
		}
	}
	if len(in.labels) > maxLabels {
		wrong = append(wrong, &huma.ErrorDetail{Location: "query.label", Message: "too many labels"})
	}
	return wrong
}

func (a *app) listRuns(ctx context.Context, in *listRunsInput) (*runsAnswer, error) {
	before, err := decodeCursor[ids.Run](ids.PrefixRun, in.Cursor)
	if err != nil {
		return nil, err
	}
	query := product.RunQuery{Agent: in.Agent, Labels: in.labels, ScheduleID: ids.Schedule(in.Schedule), Before: before, Limit: in.Limit + 1, At: a.Now()}
	if query.CreatedAfter, err = parseTime("created_after", in.CreatedAfter); err != nil {
		return nil, err
	}
	if query.CreatedBefore, err = parseTime("created_before", in.CreatedBefore); err != nil {
		return nil, err
	}
	for _, status := range in.Status {
		query.Statuses = append(query.Statuses, product.Status(status))
	}
	found, err := a.Runs.Runs(ctx, requestOf(ctx).caller.OrgID, query)
	if err != nil {
		return nil, err
	}
	return &runsAnswer{pageOf(found, in.Limit, func(r product.Run) ids.Run { return r.ID }, a.runSummary)}, nil
}

// parseTime reads a query parameter; the empty one is the zero time.
func parseTime(parameter, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, requestInvalid(fault.Field{Pointer: parameter, Message: "is not an RFC 3339 date and time"})
	}
	return t, nil
}

type listChildrenInput struct {
	ID     string `path:"id" doc:"The run that started them."`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	Cursor string `query:"cursor" maxLength:"200"`
}

func (a *app) listChildren(ctx context.Context, in *listChildrenInput) (*runsAnswer, error) {
	after, err := decodeCursor[ids.Run](ids.PrefixRun, in.Cursor)
	if err != nil {
		return nil, err
	}
	parent, err := a.run(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	found, err := a.Bodies.Children(ctx, parent.ID, after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	return &runsAnswer{pageOf(found, in.Limit, func(r product.Run) ids.Run { return r.ID }, a.runSummary)}, nil
}
