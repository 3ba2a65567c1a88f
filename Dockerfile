# The image that the Helm chart runs: the program, its libraries, a user without rights; no shell.
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --bin tradewind

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /source/target/release/tradewind /usr/local/bin/tradewind
USER 65532:65532
EXPOSE 8080 6900
ENTRYPOINT ["/usr/local/bin/tradewind"]
CMD ["run"]
