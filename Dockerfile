# The image that the Helm chart runs: the program on a slim base, under a user without rights.
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --bin tradewind

FROM debian:bookworm-slim
COPY --from=build /source/target/release/tradewind /usr/local/bin/tradewind
USER 65532:65532
EXPOSE 8080 6900
ENTRYPOINT ["/usr/local/bin/tradewind"]
CMD ["run"]
