package supervisor

import (
	"context"
	"fmt"
	"time"

	"agentmarket/agentruntime"
)

// The platform does not depend on what the supervisor tells the gateway: it learns the
// same from the termination message, only later. So these are tried once and briefly.
const (
	storeTimeout = 10 * time.Second
	tellTimeout  = 2 * time.Second
)

// storeResult hands a large result to the gateway, and reports whether it has it.
func (a *attempt) storeResult(e *agentruntime.Envelope) bool {
	e.Stored = a.call(storeTimeout, "PUT", "/v1/result", a.end.result)
	return e.Stored
}

// endLog marks the end of the log for whoever reads it before the container has ended.
func (a *attempt) endLog() {
	if a.Call == nil {
		return
	}
	_ = a.writeLines(func() error {
		_, err := fmt.Fprintln(a.Stdout, agentruntime.LogEnd)
		return err
	})
}

// tellEnd tells the gateway of the end of an agent, so that its run ends before the
// kubelet has noticed.
func (a *attempt) tellEnd(e agentruntime.Envelope) {
	if !e.Conclusive() {
		return
	}
	if report, err := e.Encode(); err == nil {
		a.call(tellTimeout, "POST", "/v1/end", report)
	}
}

// call is one call of the gateway, and reports whether there is one that took it.
func (a *attempt) call(timeout time.Duration, method, path string, body []byte) bool {
	if a.Call == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := a.Call(ctx, method, path, body); err != nil {
		fmt.Fprintf(a.Stderr, "agent-runtime: %v\n", err)
		return false
	}
	return true
}
