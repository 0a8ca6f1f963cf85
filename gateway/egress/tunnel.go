package egress

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// bufferSize is what is passed on at once. There are two buffers for each connection.
const bufferSize = 16 << 10

// tunnel is one connection on its way.
type tunnel struct {
	*Proxy
	session        Session
	use            *usage
	record         Connection
	sent, received atomic.Int64
	heardAt        atomic.Int64 // when the last byte came from either side, in nanoseconds
}

// run answers the agent, and passes on what both sides say until the end.
func (t *tunnel) run(agent net.Conn, early []byte, host net.Conn) {
	done := make(chan Outcome, 1)
	var both sync.WaitGroup
	both.Go(func() { done <- t.talk(agent, early, host) })
	select {
	case t.record.Outcome = <-done:
	case <-t.session.Ended:
		t.record.Outcome = SessionEnded
	case <-t.ctx.Done():
		t.record.Outcome = Stopped
	}
	_ = agent.Close()
	_ = host.Close()
	both.Wait()
}

// talk returns how the connection ended.
func (t *tunnel) talk(agent net.Conn, early []byte, host net.Conn) Outcome {
	if err := agent.SetDeadline(time.Now().Add(t.Limits.HelloTimeout)); err != nil {
		return Broken
	}
	if _, err := io.WriteString(agent, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return Broken
	}
	hello, outcome := readHello(agent, early, t.record.Host)
	if outcome != Closed {
		_, _ = agent.Write(unrecognizedName)
		return outcome
	}
	_ = agent.SetDeadline(time.Time{})
	if outcome := t.pass(host, hello, &t.sent); outcome != Closed {
		return outcome
	}
	ends := make(chan Outcome, 2)
	go func() { ends <- t.pump(host, agent, &t.sent) }()
	go func() { ends <- t.pump(agent, host, &t.received) }()
	if outcome := <-ends; outcome != Closed {
		_ = agent.Close()
		_ = host.Close()
		<-ends
		return outcome
	}
	return <-ends // a direction that ended well leaves the other one open
}

// pump passes on what one side says until it has said everything, which the other side
// is told.
func (t *tunnel) pump(to, from net.Conn, count *atomic.Int64) Outcome {
	buffer := make([]byte, bufferSize)
	for {
		_ = from.SetReadDeadline(time.Now().Add(t.Limits.IdleTimeout))
		n, err := from.Read(buffer)
		if n > 0 {
			if outcome := t.pass(to, buffer[:n], count); outcome != Closed {
				return outcome
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			if half, ok := to.(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite() // who has gone misses it
			}
			return Closed
		case errors.Is(err, os.ErrDeadlineExceeded):
			if time.Since(time.Unix(0, t.heardAt.Load())) >= t.Limits.IdleTimeout {
				return Idle
			} // the other side still talks
		default:
			return Broken
		}
	}
}

// pass passes bytes on, if the run has them left.
func (t *tunnel) pass(to net.Conn, data []byte, count *atomic.Int64) Outcome {
	t.heardAt.Store(time.Now().UnixNano())
	if !t.use.spend(len(data)) {
		return BytesUsedUp
	}
	_ = to.SetWriteDeadline(time.Now().Add(t.Limits.IdleTimeout))
	n, err := to.Write(data)
	count.Add(int64(n))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Idle
	case err != nil:
		return Broken
	}
	return Closed
}
