package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"agentmarket/agentruntime/agent"
)

const (
	maxQuestion   = 4000 // characters
	defaultRounds = 6
	maxRounds     = 20
)

type input struct {
	Question  string `json:"question"`
	Model     string `json:"model"`      // empty: the first that is granted
	MaxRounds *int   `json:"max_rounds"` // nil: defaultRounds
}

type output struct {
	Answer  string   `json:"answer"`
	Sources []string `json:"sources"`
	Rounds  int      `json:"rounds"`
}

func main() {
	agent.Main(func(ctx context.Context, run *agent.Run) error {
		err := work(ctx, run)
		if err != nil && over(ctx, run, err) {
			return nil // the platform knows why; what was put as a partial result stays
		}
		if err != nil {
			return fmt.Errorf("research: %w", err)
		}
		return nil
	})
}

// over reports whether an error is only that the run does not go on: it was told to
// stop, its budget is used up, or the gateway answers no calls of it any more.
func over(ctx context.Context, run *agent.Run, err error) bool {
	return ctx.Err() != nil || errors.Is(err, agent.ErrBudgetExhausted) || errors.Is(err, agent.ErrSessionClosed) ||
		errors.Is(run.Heartbeat(ctx), agent.ErrSessionClosed)
}

func work(ctx context.Context, run *agent.Run) error {
	var in input
	if err := run.Input(&in); err != nil {
		return err
	}
	if err := in.complete(); err != nil {
		return err
	}
	granted, err := run.Granted(ctx)
	if err != nil {
		return fmt.Errorf("ask what is granted: %w", err)
	}
	model, err := choose(in.Model, granted.Models)
	if err != nil {
		return err
	}
	tools, err := openTools(ctx, run, granted.Tools)
	if err != nil {
		return err
	}
	defer tools.close()
	r := newResearch(run, model, in, tools)
	if err := r.answer(ctx); err != nil {
		return err
	}
	if _, err := run.Artifact(ctx, "report.md", strings.NewReader(r.report())); err != nil {
		return fmt.Errorf("store report: %w", err)
	}
	return run.Result(r.output())
}

// complete checks the input as the schema does, since an agent may be run by hand, and
// fills in what is optional.
func (in *input) complete() error {
	in.Question = strings.TrimSpace(in.Question)
	if n := utf8.RuneCountInString(in.Question); n == 0 || n > maxQuestion {
		return fmt.Errorf("the question must have 1 to %d characters", maxQuestion)
	}
	if in.MaxRounds == nil {
		rounds := defaultRounds
		in.MaxRounds = &rounds
	}
	if *in.MaxRounds < 1 || *in.MaxRounds > maxRounds {
		return fmt.Errorf("max_rounds must be between 1 and %d", maxRounds)
	}
	return nil
}

func choose(wanted string, granted []string) (string, error) {
	switch {
	case len(granted) == 0:
		return "", errors.New("the run is granted no model")
	case wanted == "":
		return granted[0], nil
	case !slices.Contains(granted, wanted):
		return "", fmt.Errorf("the run is not granted the model %q, but %s", wanted, strings.Join(granted, ", "))
	default:
		return wanted, nil
	}
}
