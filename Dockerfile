# The environment of the pinned packages, for Docker, and for Apptainer on a cluster: docs/containers.md.
FROM python:3.11-slim
# git tells the commit of the code; gcc compiles, for torch.compile.
RUN apt-get update && apt-get install -y --no-install-recommends git gcc g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /project
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes --requirement requirements.txt
COPY . .
ENTRYPOINT ["python", "-m", "src"]
