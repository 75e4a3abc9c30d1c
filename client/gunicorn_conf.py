"""How `polyseme up` runs gunicorn: one process, since one machine has one client or few, and threads for the polls."""

wsgi_app = "service.wsgi:app"
worker_class = "gthread"
workers = 1
threads = 16
timeout = 60  # seconds without a heartbeat of the process, not of a request
graceful_timeout = 10
keepalive = 15
control_socket_disable = True
