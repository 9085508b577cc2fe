// Command dex-server is Dex, an OpenID Connect issuer, with one public client, one person with a
// password, and its storage in memory: an issuer for tests of the device flow.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/dexidp/dex/server"
	"github.com/dexidp/dex/storage"
	"github.com/dexidp/dex/storage/memory"
	"github.com/dexidp/dex/web"
	"golang.org/x/crypto/bcrypt"
)

const headerSeconds = 10

// Dex takes no cheaper hash.
const leastCost = 10

func main() {
	listen := flag.String("listen", "", "address of loopback to listen at")
	client := flag.String("client", "", "id of the public client")
	email := flag.String("email", "", "who may log in; the password is PASSWORD in the environment")
	tokens := flag.Duration("tokens-valid-for", time.Hour, "how long a token is good")
	devices := flag.Duration("codes-valid-for", 5*time.Minute, "how long a device's code is good")
	flag.Parse()
	hash, err := bcrypt.GenerateFromPassword([]byte(os.Getenv("PASSWORD")), leastCost)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	ended, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	issuer := "http://" + listener.Addr().String()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	refresh, err := server.NewRefreshTokenPolicy(logger, false, "", "", "0s")
	if err != nil {
		log.Fatal(err)
	}
	kept := storage.WithStaticClients(memory.New(logger), []storage.Client{{
		ID:     *client,
		Name:   "the command line",
		Public: true,
	}})
	kept = storage.WithStaticPasswords(kept, []storage.Password{{
		Email:    *email,
		Hash:     hash,
		Username: "person",
		UserID:   "person-1",
	}}, logger)
	kept = storage.WithStaticConnectors(kept, []storage.Connector{{
		ID:   server.LocalConnector,
		Name: "Email",
		Type: server.LocalConnector,
	}})
	handler, err := server.NewServer(ended, server.Config{
		Issuer:                 issuer,
		Storage:                kept,
		SkipApprovalScreen:     true,
		IDTokensValidFor:       *tokens,
		DeviceRequestsValidFor: *devices,
		RefreshTokenPolicy:     refresh,
		Web:                    server.WebConfig{WebFS: web.FS()},
		Logger:                 logger,
	})
	if err != nil {
		log.Fatal(err)
	}
	serving := &http.Server{Handler: handler, ReadHeaderTimeout: headerSeconds * time.Second}
	context.AfterFunc(ended, func() { _ = serving.Close() })
	if err := serving.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
