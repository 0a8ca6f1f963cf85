package infra

import "agentmarket/agentruntime"

// Reported is the outcome of an attempt whose supervisor told the gateway of the end,
// before the cluster did. The envelope is conclusive and one of the attempt: it is judged
// as the termination message that the cluster will show.
func Reported(ref Ref, e agentruntime.Envelope) Outcome {
	text, err := e.Encode()
	if err != nil { // it was read from a text
		text = nil
	}
	var o Outcome
	ofContainer(ref, &Pod{Terminated: &Terminated{
		Message: string(text), ExitCode: int(e.Outcome.ExitCode()), StartedAt: e.StartedAt, FinishedAt: e.FinishedAt,
	}}, &o)
	o.StartedAt, o.FinishedAt, o.Reported = e.StartedAt, e.FinishedAt, true
	o.Message = limit(o.Message)
	return o
}
