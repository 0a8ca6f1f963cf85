package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"agentmarket/agentruntime"
)

// The bounds of the proxy, which shares the memory of the agent. The gateway has its own.
const (
	maxConnections = 64
	answerTimeout  = 30 * time.Second
)

// proxy hands connections of the agent on to the gateway, with the pod's token as it is
// now: clients of HTTP take the credential of a proxy from their environment, once. It
// decides nothing; the gateway does.
type proxy struct {
	gateway   *url.URL
	tokenFile string
	slots     chan struct{}
}

// startProxy serves the agent on loopback as long as the process lives, and returns the
// URL for its environment.
func startProxy(l agentruntime.Launch) (string, error) {
	gateway, err := url.Parse(l.Gateway)
	if err != nil {
		return "", fmt.Errorf("start the proxy: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("start the proxy: %w", err)
	}
	server := &http.Server{
		Handler:           &proxy{gateway: gateway, tokenFile: l.TokenFile, slots: make(chan struct{}, maxConnections)},
		ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(io.Discard, "", 0),
	}
	go func() { _ = server.Serve(listener) }()
	return "http://" + listener.Addr().String(), nil
}

// ServeHTTP implements http.Handler.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "agent-runtime: hosts are reached with CONNECT, and TLS in it: use https://", http.StatusMethodNotAllowed)
		return
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	default:
		http.Error(w, "agent-runtime: too many connections", http.StatusTooManyRequests)
		return
	}
	gateway, err := p.ask(r.Context(), r.RequestURI)
	if err != nil {
		http.Error(w, "agent-runtime: "+err.Error(), http.StatusBadGateway)
		return
	}
	defer gateway.Close()
	agent, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // it has hung up
	}
	defer agent.Close()
	early := io.LimitReader(buffered.Reader, int64(buffered.Reader.Buffered()))
	join(agent, io.MultiReader(early, agent), gateway)
}

// ask asks the gateway for a connection. Its answer is for the agent.
func (p *proxy) ask(ctx context.Context, target string) (net.Conn, error) {
	token, err := os.ReadFile(p.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("read the token: %w", err)
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	dial := dialer.DialContext
	if p.gateway.Scheme == "https" {
		dial = (&tls.Dialer{NetDialer: dialer, Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext
	}
	conn, err := dial(ctx, "tcp", p.gateway.Host)
	if err != nil {
		return nil, fmt.Errorf("call the gateway: %w", err)
	}
	_ = conn.SetWriteDeadline(time.Now().Add(answerTimeout))
	_, err = fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: Bearer %s\r\nConnection: close\r\n\r\n",
		target, target, strings.TrimSpace(string(token)))
	_ = conn.SetWriteDeadline(time.Time{})
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("call the gateway: %w", err)
	}
	return conn, nil
}

// join passes on what both sides say, until both have said everything or one is gone.
func join(agent net.Conn, fromAgent io.Reader, gateway net.Conn) {
	var up sync.WaitGroup
	up.Go(func() { pass(gateway, fromAgent) })
	pass(agent, gateway)
	_ = agent.SetReadDeadline(time.Now().Add(time.Minute)) // the gateway has nothing more to say
	up.Wait()
}

func pass(to net.Conn, from io.Reader) {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		_ = to.Close()
	}
}
