package variant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/farmspec/farmspec"
	"github.com/farmspec/farmspec/simfarm"
)

// Farms behind a proxy.

func init() {
	register(Variant{
		ID: "behind-a-proxy", Name: "A proxy in front gives the servers other names and says so in headers",
		Differs: "what a server is called outside is not what it is called inside; redirects are rewritten, headers added",
		Options: simfarm.Options{},
		Front:   proxied,
	})
}

// proxied puts a proxy before the members, which are known by other names of
// the same domain from then on.
func proxied(ctx context.Context, t *farmspec.Target) (func() error, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the proxy: %w", err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())

	inside := make(map[string]*url.URL) // by the name outside
	outside := make(map[string]string)  // base address by base address
	resolve := make(map[string]string)
	for i, m := range t.Members {
		u, err := url.Parse(m.URL)
		if err != nil {
			return nil, errors.Join(err, ln.Close())
		}
		name := fmt.Sprintf("www-%d.%s", i+1, simfarm.Domain)
		public := name + ":" + port
		inside[public], outside[m.URL] = u, "http://"+public
		resolve[name] = "127.0.0.1"
		t.Members[i].URL = "http://" + public
	}
	t.Resolve = resolve

	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
		DisableCompression:  true,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     time.Minute,
	}
	srv := &http.Server{
		Handler: through(&httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				to := inside[r.In.Host]
				r.SetURL(to)
				r.SetXForwarded()
				r.Out.Host = to.Host
				r.Out.URL.Path, r.Out.URL.RawPath = r.In.URL.Path, r.In.URL.RawPath
				r.Out.URL.RawQuery = r.In.URL.RawQuery // as it came, hostile or not
				r.Out.Header.Set("Via", "1.1 front")
			},
			ModifyResponse: func(r *http.Response) error {
				for in, out := range outside {
					if rest, ok := strings.CutPrefix(r.Header.Get("Location"), in); ok {
						r.Header.Set("Location", out+rest)
						break
					}
				}
				r.Header.Set("Via", "1.1 front")
				r.Header.Set("X-Request-Id", farmspec.NewTrace())
				r.Header.Set("X-Cache", "MISS")
				return nil
			},
			Transport: transport,
			ErrorLog:  discardLog,
		}, inside),
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          discardLog,
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(ln) // ends with the listener
	}()
	return func() error {
		err := errors.Join(srv.Close())
		_ = ln.Close() // where Serve had not taken it yet
		<-served
		transport.CloseIdleConnections()
		return err
	}, nil
}

// through turns away what is for none of the hosts, and answers for a member
// that does not.
func through(p *httputil.ReverseProxy, hosts map[string]*url.URL) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := hosts[r.Host]; !ok || !strings.HasPrefix(r.URL.Path, "/") {
			http.Error(w, "No such site.", http.StatusMisdirectedRequest)
			return
		}
		body := &watched{ReadCloser: r.Body}
		r.Body = body
		one := *p
		one.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) {
			status := http.StatusBadGateway
			if body.broken.Load() {
				status = http.StatusBadRequest
			}
			http.Error(w, http.StatusText(status), status)
		}
		one.ServeHTTP(w, r)
	})
}

// watched is a request's body that remembers whether the browser's side broke it.
type watched struct {
	io.ReadCloser
	broken atomic.Bool
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		b.broken.Store(true)
	}
	return n, err
}

var discardLog = log.New(io.Discard, "", 0)
