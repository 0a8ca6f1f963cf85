package launch

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"agentmarket/fault"
	"agentmarket/ids"
	"agentmarket/product"
)

// team is the team that a run is started for; empty: of none, for who is in none.
// Who is in several says for which, so that the policy and the limits of a team are
// not left out by naming none.
func (s Start) team() (ids.Team, error) {
	switch {
	case s.TeamID != "" && !slices.Contains(s.Teams, s.TeamID):
		return "", fault.Newf(fault.Invalid, "team_unknown", "there is no team %s that you are in", s.TeamID).
			WithFields(fault.Field{Pointer: "/team", Message: "is not a team that you are in"})
	case s.TeamID == "" && len(s.Teams) == 1:
		return s.Teams[0], nil
	case s.TeamID == "" && len(s.Teams) > 1:
		return "", fault.New(fault.Invalid, "team_required", "you are in several teams: the run has to say for which it is").
			WithFields(fault.Field{Pointer: "/team", Message: "must be one of your teams"})
	}
	return s.TeamID, nil
}

// run is the record of a run that nothing keeps from starting.
func (s Start) run(agent product.Agent, version product.Version, team ids.Team, now time.Time) product.Run {
	run := product.Run{
		ID: ids.New[ids.Run](ids.PrefixRun), OrgID: s.OrgID, KeyID: s.KeyID, UserID: s.UserID, TeamID: team,
		AgentID: agent.ID, Agent: agent.FullName(),
		VersionID: version.ID, Version: version.Number, Image: version.Image,
		Status: product.StatusQueued, Labels: s.Labels, Origin: s.Origin, Request: s.Request,
		CreatedAt: now, QueueDeadline: now.Add(cmp.Or(s.Request.QueueTimeout, product.DefaultQueueTimeout)),
	}
	if s.Webhook != nil {
		webhook := *s.Webhook
		webhook.OrgID, webhook.RunID = run.OrgID, run.ID
		run.Webhook = &webhook
	}
	return run
}

// origin says where a run comes from, and that the run that starts it, if one does,
// is the caller's. The store puts it into the tree.
func (l *Launcher) origin(ctx context.Context, s Start) (product.Origin, error) {
	o := s.Origin
	o.Kind = cmp.Or(o.Kind, product.OriginAPI)
	if o.ParentID == "" {
		return o, nil
	}
	parent, err := l.Runs.Run(ctx, o.ParentID)
	if isNotFound(err) || err == nil && parent.OrgID != s.OrgID {
		err = fault.Newf(fault.NotFound, "parent_not_found", "there is no run %s that could start another one", o.ParentID)
	}
	return o, err
}

// CheckInput checks an input against the schema of a version.
func CheckInput(version product.Version, input []byte) error {
	if len(input) > product.MaxInputBytes {
		return fault.Newf(fault.TooLarge, "input_too_large", "the input has %d bytes, at most %d are allowed",
			len(input), product.MaxInputBytes)
	}
	schema, err := product.CompileSchema(version.Manifest.InputSchema)
	if err != nil { // it compiled when it was published
		return fmt.Errorf("compile schema of version %s: %w", version.ID, err)
	}
	return schema.Validate("/input", input)
}
