"""The doors: HTTP, WebSockets and Socket.IO. They check, translate, and leave the rest to the use cases."""
