FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags=-s -o /farmspec ./cmd/farmspec

FROM debian:bookworm-slim
RUN mkdir /data /report && chown 65534:65534 /data /report
COPY --from=build /farmspec /usr/local/bin/farmspec
USER 65534:65534
EXPOSE 8080-8082
VOLUME /data
ENTRYPOINT ["farmspec"]
CMD ["--help"]
