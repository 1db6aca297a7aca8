package farmspec

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// NewTransport returns an HTTP/1.1 transport that many browsers may share.
// Its dialer takes the host names of resolve to the IP addresses there,
// keeping the port, and every *.localhost to 127.0.0.1 (RFC 6761, section
// 6.3); other names are looked up. It uses no proxy, follows nothing,
// decompresses nothing and bounds the header of an answer to 256 KiB. Idle
// connections go after four seconds, before common servers close theirs. Over TLS it resumes
// sessions, as browsers do.
//
// The map is copied. Close idle connections with CloseIdleConnections.
func NewTransport(resolve map[string]string) *http.Transport {
	names := make(map[string]string, len(resolve))
	for name, ip := range resolve {
		names[canonicalHost(name)] = ip
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:            dialer(names),
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0)},
		Protocols:              protocols,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        4 * time.Second,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
}

// Transport returns a transport for the target's browsers: [NewTransport] with
// the target's names and authorities.
func (t *Target) Transport() *http.Transport {
	transport := NewTransport(t.Resolve)
	transport.TLSClientConfig.RootCAs = t.RootCAs
	return transport
}

// dialer connects to host names through names, and then as [NewTransport] says.
func dialer(names map[string]string) func(context.Context, string, string) (net.Conn, error) {
	d := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: -1}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("dial: %w", err)
		}
		host = canonicalHost(host)
		if ip, ok := names[host]; ok {
			if _, err := netip.ParseAddr(ip); err != nil {
				return nil, fmt.Errorf("dial %s: it resolves to %q, which is not an IP address", host, ip)
			}
			host = ip
		} else if host == "localhost" || strings.HasSuffix(host, ".localhost") {
			host = "127.0.0.1"
		}
		conn, err := d.DialContext(ctx, network, net.JoinHostPort(host, port))
		if err != nil {
			return nil, err
		}
		return listening{conn}, nil
	}
}

// listening is a connection whose answer is read although the server no
// longer takes the request: who finds a header too long says so and hangs up
// (RFC 9112, section 9.6), and http.Transport gives up at the failed write.
// Reading then finds the answer, or the same end of the connection.
type listening struct{ net.Conn }

func (c listening) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return len(b), nil
	}
	return n, err
}

// SyscallConn is the connection's own, for who sends and receives by itself.
func (c listening) SyscallConn() (syscall.RawConn, error) { return c.Conn.(syscall.Conn).SyscallConn() }

// canonicalHost is a host name as names are compared: lower case, without the
// root's dot or the brackets of an IPv6 address (RFC 6265bis, section 5.1.2).
func canonicalHost(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}
